export { createWasmEngine } from "./wasm-engine.ts";
