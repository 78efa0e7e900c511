import { expect, test } from "vitest";
import type { Failure } from "../../../merge/work/index.ts";
import type { Hello } from "../../../proto/index.ts";
import { FileStore } from "../../../storage/index.ts";
import { MountedRoots, RemoteWorker } from "../../../worker/link/index.ts";

/** A worker without a connection, whose log throws at an event. */
function brokenAt(event: string) {
  const fatal: Failure[] = [];
  const store = new FileStore();
  const worker = new RemoteWorker({
    connection: { address: "127.0.0.1:1", workerName: "one" },
    hello: { workerName: "one" } as Hello,
    pool: {} as never,
    inputCacheBytes: 0,
    store,
    roots: new MountedRoots(store, []),
    log: (_level, what) => {
      if (what === event) throw new Error(`${event}: a lease is held twice`);
    },
    fatal: (failure) => fatal.push(failure),
  });
  const assign = (attempt: bigint) =>
    worker.received({
      $case: "assignment",
      value: { id: { jobId: "j", unitId: "s1", attempt }, leaseMs: 1000n, work: undefined },
    });
  return { worker, assign, fatal };
}

test("an error in what leases decide, or in carrying it out, ends the process; it is not left standing", () => {
  const { worker, assign, fatal } = brokenAt("assigned");
  assign(1n);
  expect(fatal).toMatchObject([
    { code: "merge/internal", message: expect.stringContaining("assigned: a lease is held twice") },
  ]);
  // Until it has ended, whatever comes is taken: nothing waits behind the error.
  worker.detached();
  expect(worker.hello().held).toEqual([]);
});
