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
  const wanted = any.length === 0 ? chosen.length : Math.max(chosen.length + any.length, threads);
  while (chosen.length < wanted) chosen.push(...any.slice(0, wanted - chosen.length));
  return chosen.map(({ name, arenas }) => ({ name, arenas, maximumBytes }));
}

/** As people read it. */
export function engineText(engines: readonly ChosenEngine[]): string {
  return engines.map(({ name }) => name).join("+");
}
