export { type Connection, openConnection } from "./connection.ts";
export { ATTEMPT_MS, dial } from "./dial.ts";
export { type InputRange, InputStore } from "./input-store.ts";
export { readInput } from "./read-input.ts";
export { openRemoteInputs } from "./remote-inputs.ts";
export { type OfferedResult, type ResultServer, type ResultServerOptions, serveResults } from "./result-server.ts";
export { type BackoffOptions, backoffMs, canPass, isServiceError, persist } from "./retry.ts";
export { type ResultToSend, sendResult } from "./send-result.ts";
export { type Pieces, WindowCache, type WindowCacheOptions } from "./window-cache.ts";
