/** Cancel, terminate, pause and resume in every phase of a job. */
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Cli, StorageFault } from "../support/child-process.ts";
import { ask, expectDone, MixedRig, TIMES } from "./mixed-rig.ts";

/** What makes the phase last long enough to be met, in the worker or the coordinator; and how it is known that it began. */
interface Held {
  readonly worker?: StorageFault;
  readonly coordinator?: StorageFault;
}

const STAGED = "\\.deltaworks/stage/.*safetensors$";
const HELD = {
  surveying: { worker: { call: "read", path: "/one/model.safetensors$", thread: "worker", do: "slow", ms: 800 } },
  merging: { worker: { call: "write", path: STAGED, do: "slow", ms: 400 } },
  // Read back on threads; what is written is not.
  sealing: { worker: { call: "open", path: STAGED, thread: "worker", do: "slow", ms: 1500 } },
  publishing: { coordinator: { call: "rename", path: "/job/[^/]*$", do: "slow", ms: 500 } },
} as const satisfies Record<string, Held>;
type HeldPhase = keyof typeof HELD;

interface JobInPhase {
  readonly rig: MixedRig;
  readonly address: string;
  readonly job: Cli;
  /** Asks for it, and lets the phase go on. */
  readonly change: (change: string) => Promise<void>;
}

async function jobIn(phase: HeldPhase): Promise<JobInPhase> {
  const rig = new MixedRig();
  const held: Held = HELD[phase];
  const holding = rig.path("holding");
  writeFileSync(holding, "");
  const faults = (fault: StorageFault | undefined) =>
    fault === undefined ? {} : { faults: [{ ...fault, while: holding }] };
  const { address } = await rig.coordinator(TIMES, faults(held.coordinator));
  rig.worker(address, "w", [], faults(held.worker));
  const job = rig.submit(address, rig.recipe(), "job");
  await job.event(
    (event) =>
      event.phase === phase && event.state === "running" && (phase !== "merging" || Number(event.slicesDone) > 2),
  );
  const change = async (change: string) => {
    await ask(address, change, "job");
    rmSync(holding);
  };
  return { rig, address, job, change };
}

/** Files below the output, but those that tell of the job. */
function strays(rig: MixedRig): string[] {
  const out = join(rig.out, "job");
  if (!existsSync(out)) return [];
  const found = readdirSync(out, { recursive: true }) as string[];
  return found.filter((name) => ![".deltaworks", ".deltaworks/journal", ".deltaworks/lock"].includes(name));
}

const beforePublishing = ["surveying", "merging", "sealing"] as const;

describe.each(["cancel", "terminate"])("%s", (what) => {
  test.each(beforePublishing)(
    "while %s: the job ends, nothing of it is left, and the output is free again",
    async (phase) => {
      const { rig, address, job, change } = await jobIn(phase);
      await change(what);
      expect((await job.ended).code).toBe(1);
      expect((await ask(address, "status", "job"))[0]?.state).toBe("cancelled");
      if (what === "cancel") expect(strays(rig)).toEqual([]);
      // Of a job that was terminated the stage goes once no lease can write any more: the next one waits for that.
      const again = rig.submit(address, rig.recipe(), "job", ["--name", "again"]);
      await again.event("submitted");
      await expectDone(again);
      await rig.expectMerged("job");
    },
  );

  test("while publishing comes too late: readers get the whole checkpoint", async () => {
    const { rig, address, job, change } = await jobIn("publishing");
    await change(what);
    await expectDone(job);
    await rig.expectMerged("job");
    expect((await ask(address, "status", "job"))[0]?.state).toBe("done");
  });
});

test.each(beforePublishing)("paused while %s, the job stands still; resumed, it ends", async (phase) => {
  const { rig, address, job, change } = await jobIn(phase);
  await change("pause");
  await job.event(({ state }) => state === "paused");
  await ask(address, "resume", "job");
  await expectDone(job);
  await rig.expectMerged("job");
});

test("paused while publishing, the job is published all the same", async () => {
  const { rig, job, change } = await jobIn("publishing");
  await change("pause");
  await expectDone(job);
  await rig.expectMerged("job");
});
