import { FailuresError } from "../merge/work/index.ts";

/** What is wrong with models, none of it in the recipe's text. */
export class InputsError extends FailuresError {}
