import { CodedError } from "../errors/index.ts";

/** Everything that can be wrong with a recipe, and what is worth a word of warning. docs/errors.md has each of them. */
export const recipeCodes = [
  // the text
  "recipe/yaml",
  "recipe/too-large",
  "recipe/duplicate-key",
  "recipe/not-yet",
  "recipe/other-program",
  "recipe/unknown-key",
  "recipe/missing-key",
  "recipe/wrong-type",
  "recipe/wrong-value",
  "recipe/no-effect",
  // what it names
  "recipe/unknown-method",
  "recipe/model-reference",
  "recipe/refused-parameter",
  "recipe/missing-parameter",
  "recipe/conflicting-parameters",
  "recipe/model-count",
  "recipe/missing-base",
  "recipe/base-unlisted",
  "recipe/layer-range",
  "recipe/missing-layers",
  "recipe/layer-misfit",
  "recipe/layer-facts",
  "recipe/module",
  // what the models hold
  "recipe/ambiguous-name",
  "recipe/missing-tensor",
  "recipe/shape-mismatch",
  "recipe/adapter",
  "recipe/adapter-mismatch",
  "recipe/dtype-mismatch",
  "recipe/packed-weights",
  "recipe/tensor-too-large",
  "recipe/embedding-rows",
  "recipe/tensor-cut",
  "recipe/tokenizer",
  "recipe/token",
  "recipe/token-conflict",
  "recipe/token-id",
  "recipe/vocabulary-mismatch",
  "recipe/vocabulary-not-compared",
  "recipe/vocabulary-size",
  "recipe/tensor-skipped",
  "recipe/leftover-quantization",
  "recipe/integers-differ",
  "recipe/tied-weights",
  "recipe/unused-model",
  "recipe/partly-used",
  "recipe/zero-weight",
  "recipe/unknown-architecture",
  // what lies beside the weights
  "recipe/files-left-behind",
  "recipe/code-carried",
  "recipe/weights-copied",
  "recipe/damaged-file",
  // lints
  "recipe/prunes-nothing",
  "recipe/opposed-weights",
  "recipe/configs-disagree",
  "recipe/dead-condition",
  "recipe/extrapolates",
  "recipe/large-gamma",
  "recipe/base-listed",
] as const;

export type RecipeCode = (typeof recipeCodes)[number];

/** Where something stands in the recipe's text; both count from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** One thing that is wrong, or worth a warning, and where. */
export interface Fault extends Place {
  readonly code: RecipeCode;
  /** What was found, with names and numbers, as a sentence without a full stop. */
  readonly message: string;
  /** What to do about it. */
  readonly hint: string;
  /** Name of the recipe as given by the user. */
  readonly file: string;
}

/** `recipe.yml:7:5: unknown key "densty", did you mean "density"?` */
export function formatFault(fault: Fault): string {
  return `${fault.file}:${fault.line}:${fault.column}: ${fault.message}`;
}

/** A recipe that cannot be merged. Carries all its faults; code and hint are those of the first. */
export class RecipeError extends CodedError<RecipeCode> {
  readonly faults: readonly Fault[];

  constructor(faults: readonly [Fault, ...Fault[]]) {
    super(faults[0].code, faults.map(formatFault).join("\n"), faults[0]);
    this.faults = faults;
  }
}

/** @throws RecipeError if there is any fault. */
export function checkFaults(faults: readonly Fault[]): void {
  const [first, ...others] = faults;
  if (first !== undefined) throw new RecipeError([first, ...others]);
}
