export { redact, Secret } from "./secret.ts";
