export { type Binding, type BindOptions, type BoundStack, bindRecipe } from "./bind.ts";
export { canonicalRecipe, type JsonValue } from "./canonical.ts";
export type { FileValue } from "./config-value.ts";
export {
  checkFaults,
  type Fault,
  formatFault,
  type RecipeCode,
  RecipeError,
  type TextPlace,
} from "./errors.ts";
export type { IntegerCopy } from "./integer-copies.ts";
export { type StaleQuantization, staleQuantization } from "./leftover-quantization.ts";
export { type Difference, type DifferenceKind, type Migration, migrationOf } from "./migration.ts";
export { type PeerVersion, peerVersions } from "./migration-rules.ts";
export { labelsFor, type ModelReference } from "./model-reference.ts";
export type { Note } from "./note.ts";
export type { Condition, PlacedSetting, Setting, Settings } from "./parameters.ts";
export { type ParsedRecipe, parseRecipe, recipeTextUpTo } from "./parse-recipe.ts";
export {
  type LayerRange,
  type LayerSource,
  placeOfModel,
  type Recipe,
  type RecipeInput,
  referencedModels,
} from "./recipe.ts";
export type { ParseOptions } from "./schema.ts";
export { filledRecipe, type ParsedSweep, parseSweep, type Sweep, type SweepPoint, type SweepRecipe } from "./sweep.ts";
export type { BoundTokenizer } from "./token-binder.ts";
export type { ChatTemplateSetting, TokenizerSettings, TokenSetting, TokenSource } from "./tokenizer-settings.ts";
export { percentText } from "./usage-ledger.ts";
