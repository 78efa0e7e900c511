import { exitCodes } from "./exit-codes.ts";
import type { Io } from "./io.ts";

/** SIGINT and SIGTERM stop jobs cleanly; a second one ends the process as it is, which loses nothing but slices in flight. */
export class Signals {
  exitCode: number = exitCodes.interrupted;
  #handlers: (readonly [NodeJS.Signals, () => void])[] = [];
  readonly #stops: (() => void)[] = [];
  #asked = false;

  /** May be called for several jobs. */
  listen(io: Io, stop: () => void): void {
    this.#stops.push(stop);
    if (this.#asked) stop();
    if (this.#handlers.length > 0) return;
    this.#handlers = (["SIGINT", "SIGTERM"] as const).map((signal) => {
      let asked = false;
      const handler = () => {
        this.exitCode = signal === "SIGINT" ? exitCodes.interrupted : exitCodes.terminated;
        if (asked) process.exit(this.exitCode);
        asked = true;
        this.#asked = true;
        io.stderr("stopping  slices in flight are finished first; once more to end at once\n");
        for (const each of this.#stops) each();
      };
      process.on(signal, handler);
      return [signal, handler] as const;
    });
  }

  close(): void {
    for (const [signal, handler] of this.#handlers) process.off(signal, handler);
  }
}
