export type { EngineDeclaration } from "./declaration.ts";
export { type Arena, type Device, type DeviceLimits, put, type Scope, type Staging } from "./device.ts";
export { type EngineCode, EngineError } from "./errors.ts";
export { type Address, EVERYTHING, type Kernels, LANES_BYTES, type RandomStream, type SumKind } from "./kernels.ts";
export { type ChosenEngine, checkEngineNames, chooseEngines, engineNames, openDevice } from "./registry.ts";
