export { CodedError } from "./coded-error.ts";
export type { Explanation, Explanations } from "./explanations.ts";
