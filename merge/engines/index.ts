export type { EngineDeclaration, EngineOptions } from "./declaration.ts";
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
export { checkEngine, checkEngineName, createEngine, engineNames } from "./registry.ts";
