export { findLeftovers, type Leftover, removeLeftover } from "./bucket-leftovers.ts";
export { BucketPublication, type BucketPublicationOptions } from "./bucket-publication.ts";
export { checkLayerCount } from "./documents/config/layer-count.ts";
export {
  type DocumentSources,
  fileOfDocument,
  outputDocuments,
  recordDocuments,
  stageDocuments,
} from "./documents/documents.ts";
export type { OutputDocument } from "./documents/output-document.ts";
export { copiedFiles, type OutputText, type OutputTokenizer } from "./documents/output-text.ts";
export { type PublishCode, PublishError } from "./errors.ts";
export { FileOutput } from "./file-output.ts";
export { FinishedOutput } from "./finished-output.ts";
export {
  checkHubTarget,
  HubPublication,
  type HubPublicationOptions,
  type HubPublicationPorts,
  type HubPublished,
} from "./hub/hub-publication.ts";
export { ObjectOutput, type ObjectOutputOptions } from "./object-output.ts";
export { checkOutputDirectory, type OutputClaim, type OutputState } from "./output-directory.ts";
export { checkOutputIsNoInput } from "./output-is-input.ts";
export type { NamedInput, Output } from "./port.ts";
export { type Publication, type PublishStep, publish } from "./publish.ts";
export {
  JOURNAL_NAME,
  JOURNAL_PATH,
  RECIPE_NAME,
  STAGE_PATH,
  SUMS_NAME,
  WORK_DIRECTORY,
} from "./records/file-names.ts";
export {
  buildManifest,
  type InputSources,
  type Manifest,
  type ManifestInput,
  type ManifestInputFile,
  type ManifestShard,
  type ManifestSlice,
  type ManifestSources,
  manifestText,
  type OutputFile,
  parseManifest,
  sourceOf,
} from "./records/manifest.ts";
export { maybeOutputFiles } from "./records/output-files.ts";
export type { RepairChoices } from "./repair/recorded-facts.ts";
export {
  type RepairedFile,
  type RepairOptions,
  type RepairReport,
  type RepairSource,
  repairBucket,
  repairOutput,
} from "./repair/repair.ts";
export type { RepairInput } from "./repair/repair-inputs.ts";
export type { RecomputeSlices } from "./repair/repair-shards.ts";
export { type Finding, type VerifyReport, verifyOutput } from "./repair/verify.ts";
export { copyRange, hashFile, hashRanges, READ_BACK_CHUNK_BYTES } from "./seal/read-back.ts";
export { damagedSlices, headerSha256, SEAL_GROUP_BYTES, type SealUnit, sealWork } from "./seal/seal-work.ts";
