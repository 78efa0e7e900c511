export { assignmentOf, attemptOfAssignment, indexPlan, messageOfAssignment, type PlanIndex } from "./assignment.ts";
export {
  attachMethod,
  coordinatorDefinition,
  encodedRequest,
  encodedResponse,
  requestsIn,
  responsesIn,
  severalRequests,
  severalResponses,
} from "./attach-codec.ts";
export { attemptOf, messageOfAttempt } from "./attempt-id.ts";
export { BatchWriter } from "./batch-writer.ts";
export { fetchResultMethod, readInputMethod, sendResultMethod, sendSummaryMethod } from "./chunk-codec.ts";
export {
  CHUNK_BYTES,
  CHUNK_MESSAGE_MAX_BYTES,
  CONTROL_MESSAGE_MAX_BYTES,
  chunksOf,
  FLOW_CONTROL_WINDOW_BYTES,
  GATHER_MS,
  SUMMARY_MESSAGE_MAX_BYTES,
} from "./chunks.ts";
export { dataOf, messageOfData } from "./data.ts";
export { DataIntake, dataBytes, type PackedData, packedData } from "./data-pieces.ts";
export { malformed, tooLarge, WireError } from "./errors.ts";
export { countsOf, failureOf, messageOfCounts, messageOfFailure } from "./failure.ts";
export { heartbeatFor, ioTimeoutMax, leaseMin } from "./lease-times.ts";
export { messageOfOptions, optionsOfMessage } from "./merge-options.ts";
export { maybeNamedPlace, NAMED_PLACE_RULE, type NamedPlace, shownPlace } from "./named-place.ts";
export { bytesOfHex, hexOf, numberOf } from "./numbers.ts";
export { PlanPieces, planTextOf } from "./plan-pieces.ts";
export { failedOf, messageOfFailed, messageOfReport, reportOf } from "./report.ts";
export { isPathBelow, isRootName, maybePlace, ROOT_NAME_RULE } from "./rooted-path.ts";
export { FAILURES_KEY, failuresOfCall, isTooLarge, statusOf, WORKER_KEY } from "./status.ts";
export { CHUNKS_IN_FLIGHT_MAX, type Sink, StreamWriter } from "./stream-writer.ts";
export { delay, every, systemTimers, type Timers } from "./timers.ts";
export { checkVersions, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN } from "./version.ts";
