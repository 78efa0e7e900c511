export type {
  Assignment,
  AttemptRef,
  Failure,
  InputDocument,
  InputFile,
  JobDescription,
  Report,
  RootedPath,
  SealRange,
  SealWork,
  SliceWork,
  SurveyWork,
  UnitId,
  WorkCounts,
  WorkerId,
} from "./assignment.ts";
export { type AttemptKey, textOfAttempt, textOfRef } from "./attempt-key.ts";
export {
  BLOCK_MIN_ELEMENTS,
  beginsTensor,
  elementsBefore,
  type Geometry,
  geometryOf,
  geometryOfTask,
} from "./blocks.ts";
export { FailuresError, failureFrom, type MergeCode, MergeError } from "./errors.ts";
export { checkSameState, type FileState, inputChanged } from "./input-state.ts";
export { partsOfTensors, surveyRanges } from "./parts-of-tensors.ts";
export { isList, type Numbers, type PlainData } from "./plain-data.ts";
export {
  canonicalJson,
  type Json,
  PLAN_VERSION,
  type Plan,
  type PlanAdapter,
  type PlanConfigValue,
  type PlanInput,
  type PlanInputFile,
  type PlanNote,
  type PlanOptions,
  type PlanShard,
  type PlanStack,
  type PlanUsage,
  type PlanVocabulary,
  type Slice,
  type SliceId,
  type SlicePart,
  type UnusedTensors,
} from "./plan.ts";
export { planBytes, planFromText, planLines } from "./plan-text.ts";
export type { Seed, Step } from "./round.ts";
export { sealRanges } from "./seal-ranges.ts";
export { preambleIn, shardPreamble } from "./shard-preamble.ts";
export {
  type AdapterSource,
  type ColumnsSource,
  type MergedSource,
  type NormedSource,
  type ProductSource,
  type ProductTerm,
  type RowRun,
  type RowsSource,
  rowsOfRun,
  type ScaledSource,
  type StoredSource,
  sourcesOf,
  storedIn,
  type TensorSource,
} from "./tensor-source.ts";
export {
  bandBytes,
  type ModelSource,
  type Parameters,
  type ParameterValue,
  type Scaling,
  type TensorTask,
} from "./tensor-task.ts";
export { type ModelUsage, usageOf } from "./usage.ts";
