export { redact, Secret, withoutCredentials } from "./secret.ts";
