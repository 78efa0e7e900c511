import type { EngineDeclaration } from "../declaration.ts";
import { loadKernelModule } from "./kernel-module.ts";
import { WasmDevice } from "./wasm-device.ts";

export { WasmDevice } from "./wasm-device.ts";

export const wasm: EngineDeclaration = {
  name: "wasm",
  checkAvailable: async () => {
    loadKernelModule();
  },
  open: async () => new WasmDevice(),
};
