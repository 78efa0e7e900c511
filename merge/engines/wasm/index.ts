import type { EngineDeclaration } from "../declaration.ts";
import { WasmDevice } from "./wasm-device.ts";

export { WasmDevice } from "./wasm-device.ts";

export const wasm: EngineDeclaration = {
  name: "wasm",
  open: async () => new WasmDevice(),
};
