import { expect, test } from "vitest";
import { openDevice } from "../../../merge/engines/index.ts";
import { FileStore } from "../../../storage/index.ts";
import { LockstepSessions } from "../../../worker/lockstep/lockstep-sessions.ts";
import type { FromWorker } from "../../../worker/messages.ts";
import { AsynchronousDevice } from "../../support/asynchronous-device.ts";

test("merges in step share the thread's one device, each with arenas of its own; it is closed with the thread", async () => {
  const opened: AsynchronousDevice[] = [];
  const arenas: number[] = [];
  let closed = 0;
  const blocking: boolean[] = [];
  const sent: FromWorker["type"][] = [];
  const sessions = new LockstepSessions(
    ({ asynchronous }) => {
      blocking.push(!asynchronous);
      return new FileStore({ blocking: !asynchronous });
    },
    ({ type }) => sent.push(type),
    async (name) => {
      const device = new AsynchronousDevice(await openDevice(name), { limits: { arenas: 2 } });
      const open = device.open.bind(device);
      opened.push(device);
      return Object.assign(device, {
        open: (maximumBytes: number) => {
          arenas.push(maximumBytes);
          return open(maximumBytes);
        },
        close: () => {
          closed++;
        },
      });
    },
  );
  const budget = { rangeElements: 1, spareBytes: 0, heldBytes: 0, openFilesMax: 8 };
  const description = { seed: { low: 0, high: 0 }, allowNonfinite: false, inputs: [], shardPaths: [] };
  await sessions.receive({ type: "start", budget, engine: { name: "reference", maximumBytes: 2 ** 22, arenas: 2 } });
  for (const job of ["one", "two"]) await sessions.receive({ type: "begin", job, description });
  expect(opened).toHaveLength(1);
  expect(arenas).toEqual(new Array(4).fill(2 ** 21));
  expect(blocking).toEqual([false]);
  for (const job of ["one", "two"]) await sessions.receive({ type: "finish", job });
  expect(closed).toBe(0);
  await sessions.receive({ type: "end" });
  await new Promise((resolve) => setImmediate(resolve));
  expect(closed).toBe(1);
  expect(sent).toEqual(["ready", "finished", "finished", "gathered", "ended"]);
});
