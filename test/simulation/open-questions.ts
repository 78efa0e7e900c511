import type { Question } from "../../proto/index.ts";
import type { Connection } from "./connection.ts";
import type { QuestionWatch } from "./rpc.ts";
import type { World } from "./world.ts";

/** Then a report that waits for nothing must have its answer. */
const PATIENCE_MS = 150;

interface Open {
  isOpen: boolean;
}

/** Whoever reports is answered: at once, or when what it reports is durable. Repeated as often as may be, each time. */
export class OpenQuestions implements QuestionWatch {
  readonly #world: World;
  /** Of each connection, by number: one for each time that it came. */
  readonly #open = new Map<Connection, Map<number, Open[]>>();

  constructor(world: World) {
    this.#world = world;
  }

  asked({ number, question }: Question, connection: Connection): void {
    if (question?.$case !== "report") return;
    const { id } = question.value;
    const open: Open = { isOpen: true };
    let ofConnection = this.#open.get(connection);
    if (ofConnection === undefined) {
      ofConnection = new Map();
      this.#open.set(connection, ofConnection);
      connection.onLost("coordinator", () => this.ended(connection));
    }
    const known = ofConnection.get(number);
    if (known === undefined) ofConnection.set(number, [open]);
    else known.push(open);
    this.#watch({ unit: id?.unitId ?? "", attempt: Number(id?.attempt ?? 0n) }, connection, open);
  }

  answered(number: number, connection: Connection): void {
    const open = this.#open.get(connection)?.get(number)?.shift();
    if (open !== undefined) open.isOpen = false;
  }

  ended(connection: Connection): void {
    for (const those of this.#open.get(connection)?.values() ?? []) for (const one of those) one.isOpen = false;
    this.#open.delete(connection);
  }

  #watch(
    { unit, attempt }: { readonly unit: string; readonly attempt: number },
    connection: Connection,
    open: Open,
  ): void {
    const { scheduler, auditor } = this.#world;
    const { coordinator } = connection;
    const { process } = coordinator;
    const sinceMs = scheduler.nowMs;
    scheduler.after(PATIENCE_MS, () => {
      if (!open.isOpen || !process.alive) return;
      // What is to become durable, or to be fetched, is waited for; and a process that is stopped answers nobody.
      const known = coordinator.state?.units.get(unit as never);
      const current = known?.attempts.find(({ number }) => number === attempt);
      const becomesDurable = current !== undefined && known?.kind === "slice" && !current.audit;
      const isWaiting = becomesDurable || coordinator.isFetching({ unit, attempt });
      if (isWaiting || process.isStopped || process.stoppedMs >= sinceMs) {
        return this.#watch({ unit, attempt }, connection, open);
      }
      auditor.violated(`${coordinator.name} does not answer ${connection.worker.name}, who reports ${unit}#${attempt}`);
    });
  }
}
