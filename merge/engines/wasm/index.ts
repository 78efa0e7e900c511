import type { EngineDeclaration } from "../declaration.ts";
import { loadKernelModule } from "./kernel-module.ts";
import { createWasmEngine } from "./wasm-engine.ts";

export { createWasmEngine } from "./wasm-engine.ts";

export const wasm: EngineDeclaration = {
  name: "wasm",
  checkAvailable: async () => {
    loadKernelModule();
  },
  create: createWasmEngine,
};
