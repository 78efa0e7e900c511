import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { EngineError } from "../errors.ts";

/** Beside this folder in dist/; from the TypeScript sources, in the dist/ of the last build. */
const places = ["../../kernels/kernels.wasm", "../../../dist/merge/kernels/kernels.wasm"];

export interface KernelModule {
  readonly module: WebAssembly.Module;
  /** "wasm-" and the first 12 hexadecimal digits of the SHA-256 of the module's bytes. */
  readonly kernelId: string;
}

/** @throws EngineError `engine/unavailable` if the kernels were not built or do not compile here */
export function loadKernelModule(): KernelModule {
  const bytes = readKernels();
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  try {
    return { module: new WebAssembly.Module(bytes), kernelId: `wasm-${sha256.slice(0, 12)}` };
  } catch (cause) {
    const message = `Node ${process.version} cannot compile the WebAssembly kernels on this machine.`;
    const hint = "Use Node 20.20.2 or later and a processor with SIMD, or --engine reference.";
    throw new EngineError("engine/unavailable", message, { hint, cause });
  }
}

function readKernels(): Uint8Array {
  let lastFault: unknown;
  for (const place of places) {
    try {
      return readFileSync(new URL(place, import.meta.url));
    } catch (fault) {
      lastFault = fault;
    }
  }
  const message = `The WebAssembly kernels are missing: neither ${places.join(" nor ")} can be read from ${import.meta.url}.`;
  throw new EngineError("engine/unavailable", message, { hint: "Build them: npm run build.", cause: lastFault });
}
