import { defineMethod } from "./definition.ts";
import { noRounds } from "./no-rounds.ts";
import { weightDocumentation } from "./parameters.ts";

/** What the two have in common. The recipe room binds them to sources that are factors already; there is nothing left to compute. */
const ofAdapters = {
  base: "listed",
  appendsBase: false,
  needsBase: false,
  models: { min: 1, max: Number.POSITIVE_INFINITY },
  shapeMismatch: "fail",
  prunes: false,
  elementsMax: Number.POSITIVE_INFINITY,
  adapters: "only",
  refused: {},
  begin: () => ({ verdict: null }),
  ...noRounds,
  settle: () => ({ verdict: null }),
  merge: (): never => {
    throw new Error("adapters are bound as copies of their factors");
  },
  reads: () => ({ base: 1, models: 1 }),
} as const;

const weight = { scope: "tensor", type: "number", required: true, documentation: weightDocumentation } as const;
const normalize = {
  scope: "global",
  type: "boolean",
  default: false,
  documentation: "Divide by the sum of the weights of the adapters that have the module.",
} as const;

/** The exact sum of adapters, as an adapter of all their ranks together. */
export const cat = defineMethod<never, null, null>({
  ...ofAdapters,
  name: "cat",
  title: "Cat: adapters in, the exact sum of them out as one adapter",
  documentation:
    "Takes LoRA adapters in place of models. Puts their A below each other and their B, times weight and scale, side by side: the result is the weighted sum of what they add to a model, and its rank the sum of their ranks.",
  formula: "A = [A₁; A₂; …], B = [w₁s₁B₁, w₂s₂B₂, …]      (s: alpha / rank of the adapter; the output has scale 1)",
  deviations: ["mergekit merges no adapters. PEFT's add_weighted_adapter has the same under the same name."],
  parameters: { weight, normalize },
});

/** The sum of adapters, as near as an adapter of the rank asked for comes to it. */
export const svd = defineMethod<never, null, null>({
  ...ofAdapters,
  name: "svd",
  title: "SVD: adapters in, the best adapter of a given rank for their sum out",
  documentation:
    "Takes LoRA adapters in place of models. Keeps the largest singular values of the weighted sum of what they add to a model. Each half carries the square root of the singular value; the element of largest magnitude of each left vector is positive.",
  formula:
    "B A = the product of that rank nearest to Σ wᵢ sᵢ Bᵢ Aᵢ      (s: alpha / rank of the adapter; the output has scale 1)",
  deviations: [
    "mergekit merges no adapters. PEFT's add_weighted_adapter leaves signs to the library, and all of the singular values to B.",
  ],
  parameters: {
    weight,
    normalize,
    rank: {
      scope: "global",
      type: "number",
      required: true,
      range: { min: 1 },
      documentation: "Rank of the output; a whole number. May differ by module with filters.",
    },
  },
  check: (global) =>
    Number.isInteger(global.rank) ? undefined : `rank is ${String(global.rank)}; it must be a whole number`,
});
