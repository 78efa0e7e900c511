/** Parts of the seal that the coordinator reads back in the stead of workers that cannot see the output. */
import { afterEach, expect, test } from "vitest";
import type { Assignment, SealWork } from "../../../merge/work/index.ts";
import { HandWorker, openRig, RecordingJob, unit } from "./link-rig.ts";

const MiB = 1024 * 1024;
let rig: Awaited<ReturnType<typeof openRig>>;
afterEach(() => rig.close());

/** A read-back that waits until it is told to end; `most`: how many went on at once. */
class SlowReads {
  readonly running: (() => void)[] = [];
  begun = 0;
  most = 0;
  #wake = () => {};

  readonly read = (_: SealWork): Promise<readonly string[]> => {
    this.begun++;
    return new Promise((resolve) => {
      this.running.push(() => resolve(["ab".repeat(32)]));
      this.most = Math.max(this.most, this.running.length);
      this.#wake();
    });
  };

  /** Ends one after another until none is left, and so many have begun. */
  async endAll(count: number): Promise<void> {
    while (this.begun < count || this.running.length > 0) {
      const end = this.running.shift();
      if (end !== undefined) end();
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

async function attachedJob(reads: SlowReads): Promise<RecordingJob> {
  rig = await openRig({ readBack: reads.read });
  const job = new RecordingJob();
  await rig.hub.source(rig.job)(job);
  await new HandWorker(rig.client(), "w1").next("welcome");
  return job;
}

const seal = (k: number, sizeBytes: number): Assignment => ({
  ...{ unit: unit(`seal-1-${k}`), attempt: 1, kind: "seal-slices", path: rig.job.shardPaths[0]! },
  ranges: [{ offsetBytes: 0, sizeBytes }],
});

test.each([
  ["small ones in count", 1 * MiB, 8],
  ["large ones in bytes", 16 * MiB, 4],
  ["larger ones than a reader's buffers no further", 900 * MiB, 4],
])("are bounded, %s: 48 of them are all read, and reported", async (_, sizeBytes, most) => {
  const reads = new SlowReads();
  const job = await attachedJob(reads);
  for (let k = 0; k < 48; k++) job.link!.assign(seal(k, sizeBytes), 60_000);
  await reads.endAll(48);
  expect(reads.most).toBe(most);
  expect(job.heard.filter(([what, , kind]) => what === "reported" && kind === "seal")).toHaveLength(48);
});

test("one that nobody wants any more when its turn comes is not read", async () => {
  const reads = new SlowReads();
  const job = await attachedJob(reads);
  for (let k = 0; k < 10; k++) job.link!.assign(seal(k, MiB), 60_000);
  job.link!.cancel([{ unit: unit("seal-1-9"), attempt: 1 }]);
  await reads.endAll(9);
  expect(reads.begun).toBe(9);
});
