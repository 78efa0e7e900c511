import { setImmediate } from "node:timers/promises";
import { createEngine } from "../merge/engines/index.ts";
import { type Assignment, failureFrom } from "../merge/work/index.ts";
import type { Store } from "../storage/index.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import { SliceWorker } from "./slice-worker.ts";

/**
 * A worker's side of the conversation: takes messages in any order they come, executes assignments one after another, and
 * reports a slice once it is durable, by when the next one is already being computed.
 */
export class WorkerSession {
  readonly #store: Store;
  readonly #send: (message: FromWorker) => void;
  readonly #queue: Assignment[] = [];
  readonly #grants = new Map<string, (granted: boolean) => void>();
  readonly #unsettled = new Set<Promise<void>>();
  #worker: SliceWorker | undefined;
  #running = false;
  #ending = false;

  constructor(store: Store, send: (message: FromWorker) => void) {
    this.#store = store;
    this.#send = send;
  }

  async receive(message: ToWorker): Promise<void> {
    switch (message.type) {
      case "begin": {
        const engine = await createEngine(message.engine.name, { maximumBytes: message.engine.maximumBytes });
        this.#worker = new SliceWorker(engine, this.#store, message.job, message.budget, {
          grant: (unit, attempt) => this.#askForGrant(unit, attempt),
          pause: async () => {
            await setImmediate();
          },
        });
        this.#send({ type: "ready" });
        return;
      }
      case "assign":
        this.#queue.push(message.assignment);
        return this.#run();
      case "granted":
      case "refused": {
        const key = `${message.unit}/${message.attempt}`;
        this.#grants.get(key)?.(message.type === "granted");
        this.#grants.delete(key);
        return;
      }
      case "end":
        this.#ending = true;
        if (!this.#running) await this.#end();
    }
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    for (;;) {
      const assignment = this.#queue.shift();
      if (assignment === undefined || this.#ending) break;
      await this.#execute(assignment);
    }
    this.#running = false;
    if (this.#ending) await this.#end();
  }

  async #execute(assignment: Assignment): Promise<void> {
    try {
      const written = await this.#worker?.execute(assignment);
      if (written === undefined) return;
      const settled = written.durable.then(
        () => this.#send({ type: "report", report: written.report }),
        (error: unknown) => this.#fail(assignment, error),
      );
      this.#unsettled.add(settled);
      void settled.finally(() => this.#unsettled.delete(settled));
    } catch (error) {
      this.#fail(assignment, error);
    }
  }

  #fail({ unit, attempt }: Assignment, error: unknown): void {
    this.#send({ type: "report", report: { unit, attempt, kind: "failed", failure: failureFrom(error) } });
  }

  #askForGrant(unit: Assignment["unit"], attempt: number): Promise<boolean> {
    return new Promise((resolve) => {
      this.#grants.set(`${unit}/${attempt}`, resolve);
      this.#send({ type: "grant-request", unit, attempt });
    });
  }

  async #end(): Promise<void> {
    await Promise.all(this.#unsettled);
    await this.#worker?.close();
    this.#send({ type: "ended" });
  }
}
