export type { Fetching } from "../checkpoint/index.ts";
export { InputsError } from "./errors.ts";
export { type Outline, type OutlineSources, outlineOf } from "./outline.ts";
export {
  type FindModel,
  type OpenModelsOptions,
  openModels,
  type ParsedText,
  type Prepared,
  type PrepareOptions,
  parseBeside,
  planOpened,
  prepare,
  prepareText,
  readRecipe,
} from "./prepare.ts";
