export { ADAPTER_CONFIG_NAME, type AdapterConfig, rankAndScale } from "./adapter-config.ts";
export { type AdapterTensors, type LoraPair, moduleOf } from "./adapter-tensors.ts";
export {
  holdsExperts,
  isAfterLayers,
  isComputed,
  isEmbeddingLike,
  isOptional,
  isPerception,
  isTaskHead,
  type LayerCountKey,
  type LayerName,
  layerCount,
  layerCountKey,
  listedLayers,
  renumbered,
  splitLayer,
  textConfigs,
  vocabularySize,
  vocabularySizeKeys,
} from "./architecture.ts";
export { type CalibrationKind, calibrationKind, isFormatNote, scaledModule } from "./calibration.ts";
export type { Checkpoint, CheckpointFile, TensorEntry } from "./checkpoint.ts";
export { CHAT_TEMPLATES_FOLDER, companionKind, isCode, isQuantizerFile, mayNameTokenIds } from "./companions.ts";
export {
  type Dtype,
  dtypeBytes,
  elementBits,
  type FloatDtype,
  type IntegerDtype,
  isDtype,
  isFloatDtype,
  isOpaqueDtype,
  type OpaqueDtype,
  type StoredDtype,
} from "./dtype.ts";
export { type CheckpointCode, CheckpointError } from "./errors.ts";
export { MAX_COMPANION_BYTES } from "./folder-files.ts";
export { sha256Hex } from "./hash.ts";
export { type ScannedHeader, scanHeader } from "./header-scan.ts";
export {
  type CountHolder,
  countedInConfig,
  countHolders,
  ownPart,
  partsCounting,
  type StackPlace,
} from "./layer-counts.ts";
export { aheadIn } from "./layers-ahead.ts";
export { locateAt, locateModel, type ModelReference, type Surroundings } from "./locate-model.ts";
export type { Fetching } from "./locate-on-hub.ts";
export type { ModelOrigin } from "./model-card.ts";
export { type ExpertFacts, type ModelFacts, modelFacts, type StackFacts, type VocabularyFacts } from "./model-facts.ts";
export type { ModelLocation } from "./model-location.ts";
export { alignNames, bareName, type NameAlignment, type NamedShapes, namesInTarget } from "./name-alignment.ts";
export { maybeMeant } from "./near-name.ts";
export { type Adapter, type OpenedFiles, openAdapter, openModelOrAdapter } from "./open-adapter.ts";
export { type OpenOptions, openCheckpoint } from "./open-checkpoint.ts";
export { type PackedWeights, packedWeights, statedPacking } from "./packed-weights.ts";
export { quantizationParts } from "./packing-names.ts";
export { ExactNumber, parseExactJson, parsePythonJson, pythonJsonText } from "./python-json.ts";
export { isPlain, type QuantizationEdit, quantizationEdits } from "./quantization-edits.ts";
export type { Sidecar } from "./read-with-state.ts";
export { readSafetensorsHeader, type SafetensorsHeader } from "./safetensors.ts";
export { type ScaledTensor, scaledTensors, scaleNameFor } from "./scaled-fp8.ts";
export { parseShardIndex } from "./shard-index.ts";
export { readSidecar } from "./sidecars.ts";
export { haveSameBytes, type StoredBytes } from "./stored-copies.ts";
export {
  type CopyName,
  copyNames,
  headBeside,
  inputEmbedding,
  isFlagOfMore,
  isTiedHead,
  otherHeadBias,
  saysTied,
  tiedHeadName,
  tiedPaths,
  towersNames,
} from "./tied-weights.ts";
export {
  ADDED_TOKENS_NAME,
  type AddedToken,
  CHAT_TEMPLATE_NAME,
  type JsonObject,
  type ModelTokenizer,
  parseTokenizer,
  SPECIAL_TOKENS_NAME,
  TOKENIZER_CONFIG_NAME,
  TOKENIZER_NAME,
  type Tokenizer,
  type TokenizerKind,
  TokenizerReader,
} from "./tokenizer.ts";
export { modalityOf, type Tower, towerLayerKeys, towersOf } from "./towers.ts";
