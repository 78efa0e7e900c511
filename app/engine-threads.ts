import type { ChosenEngine } from "../merge/engines/index.ts";
import type { EngineChoice } from "../worker/index.ts";

/**
 * An engine for each thread. Each has one at least; of those that take any number as many as there are threads left, in turn. `threads`:
 * how many there should be; there are more where engines are more.
 */
export function engineThreads(
  engines: readonly ChosenEngine[],
  threads: number,
  maximumBytes: number,
): readonly EngineChoice[] {
  const few = engines.filter(({ threadsMax }) => Number.isFinite(threadsMax));
  const any = engines.filter(({ threadsMax }) => !Number.isFinite(threadsMax));
  const chosen = few.flatMap((engine) => new Array<ChosenEngine>(engine.threadsMax).fill(engine));
  const left = any.length === 0 ? 0 : Math.max(any.length, threads - chosen.length);
  for (let k = 0; k < left; k++) chosen.push(...any.slice(k % any.length, (k % any.length) + 1));
  return chosen.map(({ name, arenas }) => ({ name, arenas, maximumBytes }));
}

/** As people read it. */
export function engineText(engines: readonly ChosenEngine[]): string {
  return engines.map(({ name }) => name).join("+");
}
