import * as adaptersFamily from "./adapters.ts";
import * as arceeFusionFamily from "./arcee-fusion.ts";

export { type Chunk, type ChunkSize, chunkBlocksOf, chunksOf } from "./chunks.ts";

import * as consensusFamily from "./consensus.ts";
import type { MethodDeclaration, MethodDefinition } from "./definition.ts";
import * as karcherFamily from "./karcher.ts";
import * as linearFamily from "./linear.ts";
import * as magmaxFamily from "./magmax.ts";
import * as modelStockFamily from "./model-stock.ts";
import * as multislerpFamily from "./multislerp.ts";
import * as nearSwapFamily from "./near-swap.ts";
import * as nuslerpFamily from "./nuslerp.ts";
import * as ramFamily from "./ram.ts";
import * as sceFamily from "./sce.ts";
import * as slerpFamily from "./slerp.ts";
import * as sparsifiedFamily from "./sparsified.ts";

export type {
  Cutting,
  MethodDeclaration,
  MethodDefinition,
  ParameterDeclaration,
  Reads,
} from "./definition.ts";
export { type MethodCode, MethodError } from "./errors.ts";
export { KEPT_INPUT_BYTES, keepsInputs, readsOfKept } from "./kept-inputs.ts";
export type { ManyRead, RangeContext } from "./range.ts";
export { Rounds } from "./rounds.ts";
export type { SurveyedRange } from "./summary-forms.ts";

/** Every method that a family exports is a method of the tool: a new one is listed, validated and documented by being written. */
const families: readonly object[] = [
  linearFamily,
  slerpFamily,
  nuslerpFamily,
  multislerpFamily,
  karcherFamily,
  modelStockFamily,
  sparsifiedFamily,
  magmaxFamily,
  consensusFamily,
  ramFamily,
  nearSwapFamily,
  sceFamily,
  arceeFusionFamily,
  adaptersFamily,
];

const methods: ReadonlyMap<string, MethodDefinition> = new Map(
  families.flatMap((family) =>
    Object.values(family)
      .filter(isMethod)
      .map((method) => [method.name, method] as const),
  ),
);

function isMethod(exported: unknown): exported is MethodDefinition {
  return typeof exported === "object" && exported !== null && "merge" in exported && "formula" in exported;
}

/** All methods, as recipes and help need them. */
export function methodDeclarations(): ReadonlyMap<string, MethodDeclaration> {
  return methods;
}

/** @throws Error for a name that no recipe could have passed validation with. */
export function methodNamed(name: string): MethodDefinition {
  const method = methods.get(name);
  if (method === undefined) throw new Error(`there is no method ${name}`);
  return method;
}
export { resultOf, type Steps, stepsOf } from "./steps.ts";
