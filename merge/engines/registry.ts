import type { EngineDeclaration } from "./declaration.ts";
import type { Device } from "./device.ts";
import { EngineError } from "./errors.ts";
import { checkBits } from "./self-test.ts";

/** A line an engine, the fastest first; it is loaded when it is asked for: starting the command line costs none of them. */
const engines: ReadonlyMap<string, () => Promise<EngineDeclaration>> = new Map([
  ["wasm", async () => (await import("./wasm/index.ts")).wasm],
  ["reference", async () => (await import("./reference/index.ts")).reference],
]);

export const engineNames: readonly string[] = [...engines.keys()];

/** Every engine that this machine has, but for the one that others are measured against. */
const AUTO = "auto";
const MEASURE = "reference";

/** What a process must know of an engine to share out its threads. */
export interface ChosenEngine {
  readonly name: string;
  readonly kernelId: string;
  /** See DeviceLimits. */
  readonly arenas: number;
  readonly threadsMax: number;
}

/** `auto`, a name, or several names with `+` between them. @throws EngineError `engine/unavailable` for anything else */
export function checkEngineNames(text: string): void {
  if (text !== AUTO) namesIn(text);
}

/**
 * The engines that people have asked for, before anything is begun with them: each is there, and a device of it has the right bits.
 * @throws EngineError `engine/unavailable`, `engine/other-bits`; of `auto` only where none is left
 */
export async function chooseEngines(text: string): Promise<readonly ChosenEngine[]> {
  if (text !== AUTO) return Promise.all(namesIn(text).map(factsOf));
  const found = await Promise.allSettled(engineNames.filter((name) => name !== MEASURE).map(factsOf));
  const chosen = found.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const [refused] = found.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
  if (chosen.length === 0) throw refused;
  return chosen;
}

/** A device of an engine that was chosen. @throws EngineError `engine/unavailable` */
export async function openDevice(name: string): Promise<Device> {
  const load = engines.get(name);
  if (load === undefined) throw noEngine(name);
  return (await load()).open();
}

async function factsOf(name: string): Promise<ChosenEngine> {
  const device = await openDevice(name);
  try {
    if (name !== MEASURE) await checkBits(device, () => openDevice(MEASURE));
    const { arenas, threadsMax } = device.limits;
    return { name, kernelId: device.kernelId, arenas, threadsMax };
  } finally {
    device.close();
  }
}

function namesIn(text: string): readonly string[] {
  const names = text.split("+");
  const unknown = names.find((name) => !engines.has(name));
  if (unknown !== undefined) throw noEngine(unknown);
  const repeated = names.find((name, k) => names.indexOf(name) !== k);
  if (repeated === undefined) return names;
  throw new EngineError("engine/unavailable", `The engine "${repeated}" is named twice in "${text}".`, {
    hint: "Name each engine once: --threads says how many threads there are.",
  });
}

function noEngine(name: string): EngineError {
  return new EngineError("engine/unavailable", `There is no engine "${name}".`, {
    hint: `Choose one of: ${engineNames.join(", ")}; several with + between them; or ${AUTO}.`,
  });
}
