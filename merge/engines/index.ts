export { createEngine, type EngineName, type EngineOptions } from "./create-engine.ts";
export {
  type Address,
  type Engine,
  EVERYTHING,
  type Kernels,
  LANES_BYTES,
  type RandomStream,
  type SumKind,
} from "./engine.ts";
export { type EngineCode, EngineError } from "./errors.ts";
