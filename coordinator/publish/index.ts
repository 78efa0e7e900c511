export { checkLayerCount } from "./config/layer-count.ts";
export {
  type DocumentSources,
  outputDocuments,
  recordDocuments,
  stageDocuments,
} from "./documents.ts";
export { type PublishCode, PublishError, publishCodes } from "./errors.ts";
export {
  CARD_NAME,
  CONFIG_NAME,
  INDEX_NAME,
  LOCK_PATH,
  MANIFEST_NAME,
  RECIPE_NAME,
  SUMS_NAME,
  WORK_DIRECTORY,
} from "./layout.ts";
export {
  buildManifest,
  type Manifest,
  type ManifestInput,
  type ManifestInputFile,
  type ManifestShard,
  type ManifestSlice,
  type ManifestSources,
  manifestText,
  type OutputFile,
  parseManifest,
} from "./manifest.ts";
export { checkOutputDirectory, type OutputClaim, type OutputState } from "./output-directory.ts";
export type { OutputDocument } from "./output-document.ts";
export { checkOutputIsNoInput } from "./output-is-input.ts";
export { copiedFiles, type OutputText, type OutputTokenizer } from "./output-text.ts";
export { type Publication, type PublishStep, publish } from "./publish.ts";
export type { RepairChoices } from "./recorded-facts.ts";
export {
  type RepairedFile,
  type RepairOptions,
  type RepairReport,
  type RepairSource,
  repairOutput,
} from "./repair.ts";
export type { RepairInput } from "./repair-inputs.ts";
export type { RecomputeSlices } from "./repair-shards.ts";
export { type Finding, type VerifyReport, verifyOutput } from "./verify.ts";
