export {
  isAfterLayers,
  isEmbeddingLike,
  isOptional,
  type LayerCountKey,
  type LayerName,
  layerCount,
  layerCountKey,
  renumbered,
  splitLayer,
} from "./architecture.ts";
export type { Checkpoint, CheckpointFile, TensorEntry } from "./checkpoint.ts";
export { type Dtype, dtypeBytes, type FloatDtype, type IntegerDtype, isDtype, isFloatDtype } from "./dtype.ts";
export { type CheckpointCode, CheckpointError, checkpointCodes } from "./errors.ts";
export { sha256Hex } from "./hash.ts";
export { type ScannedHeader, scanHeader } from "./header-scan.ts";
export { locateModel, type ModelReference, type Surroundings } from "./locate-model.ts";
export type { ModelLocation } from "./model-location.ts";
export { type OpenOptions, openCheckpoint } from "./open-checkpoint.ts";
export { readSafetensorsHeader, type SafetensorsHeader } from "./safetensors.ts";
export { checkScaledFp8 } from "./scaled-fp8.ts";
export { parseShardIndex } from "./shard-index.ts";
