import type { EngineDeclaration } from "./declaration.ts";
import type { Device } from "./device.ts";
import { EngineError } from "./errors.ts";

/** A line an engine; it is loaded when it is asked for: starting the command line costs none of them. */
const engines: Readonly<Record<string, () => Promise<EngineDeclaration>>> = {
  wasm: async () => (await import("./wasm/index.ts")).wasm,
  reference: async () => (await import("./reference/index.ts")).reference,
};

/** Of which the first is taken where nobody says. */
export const engineNames: readonly string[] = Object.keys(engines);

/** @throws EngineError `engine/unavailable` for a name that is none */
export function checkEngineName(name: string): void {
  if (engineNames.includes(name)) return;
  throw new EngineError("engine/unavailable", `There is no engine "${name}".`, {
    hint: `Choose one of: ${engineNames.join(", ")}.`,
  });
}

/** Before anything is begun with it. @throws EngineError `engine/unavailable` for a name that is none, and where this machine cannot have it */
export async function checkEngine(name: string): Promise<void> {
  await (await declarationOf(name)).checkAvailable();
}

/** @throws EngineError as `checkEngine` */
export async function openDevice(name: string): Promise<Device> {
  return (await declarationOf(name)).open();
}

async function declarationOf(name: string): Promise<EngineDeclaration> {
  checkEngineName(name);
  const load = engines[name];
  if (load === undefined) throw new Error(`the engine ${name} is listed and cannot be loaded`);
  return load();
}
