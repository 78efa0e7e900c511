import type { Engine } from "./engine.ts";
import { EngineError } from "./errors.ts";

export interface EngineOptions {
  /** The engine's memory never grows beyond. */
  readonly maximumBytes: number;
}

/** An engine is loaded when it is asked for: starting the command line costs none of them. */
const engines = {
  wasm: async (options: EngineOptions): Promise<Engine> => (await import("./wasm/index.ts")).createWasmEngine(options),
  reference: async (options: EngineOptions): Promise<Engine> =>
    (await import("./reference/index.ts")).createReferenceEngine(options),
};

export type EngineName = keyof typeof engines;

/** @throws EngineError `engine/unavailable` for a name that is none, from a caller that the compiler did not check */
export async function createEngine(name: EngineName, options: EngineOptions): Promise<Engine> {
  if (!Object.hasOwn(engines, name)) {
    const names = Object.keys(engines).join(", ");
    throw new EngineError("engine/unavailable", `There is no engine "${name}".`, { hint: `Choose one of: ${names}.` });
  }
  return engines[name](options);
}
