import type { ReportSlicesRequest } from "../../proto/index.ts";
import type { Connection } from "./connection.ts";
import type { CallWatch } from "./rpc.ts";
import type { World } from "./world.ts";

/** Then a report that waits for nothing must have its answer. */
const PATIENCE_MS = 150;

/** Whoever reports is answered: at once, or when what it reports is durable. Repeated as often as may be, each time. */
export class OpenCalls implements CallWatch {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  began(method: string, request: unknown, connection: Connection): () => void {
    if (method !== "reportSlices") return () => {};
    const { reports } = request as ReportSlicesRequest;
    const named = reports.map(({ id }) => ({ unit: id?.unitId ?? "", attempt: Number(id?.attempt ?? 0n) }));
    let isOpen = true;
    connection.onLost("coordinator", () => {
      isOpen = false;
    });
    this.#watch(named, connection, () => isOpen);
    return () => {
      isOpen = false;
    };
  }

  #watch(
    named: readonly { readonly unit: string; readonly attempt: number }[],
    connection: Connection,
    isOpen: () => boolean,
  ): void {
    const { scheduler, auditor } = this.#world;
    const { coordinator } = connection;
    const { process } = coordinator;
    const sinceMs = scheduler.nowMs;
    scheduler.after(PATIENCE_MS, () => {
      if (!isOpen() || !process.alive) return;
      // What is to become durable, or to be fetched, is waited for; and a process that is stopped answers nobody.
      const isWaiting = named.some(({ unit, attempt }) => {
        if (coordinator.isFetching({ unit, attempt })) return true;
        const known = coordinator.state?.units.get(unit as never);
        const current = known?.attempts.find(({ number }) => number === attempt);
        return current !== undefined && known?.kind === "slice" && !current.audit;
      });
      if (isWaiting || process.isStopped || process.stoppedMs >= sinceMs) {
        return this.#watch(named, connection, isOpen);
      }
      const what = named.map(({ unit, attempt }) => `${unit}#${attempt}`).join(", ");
      auditor.violated(`${coordinator.name} does not answer ${connection.worker.name}, who reports ${what}`);
    });
  }
}
