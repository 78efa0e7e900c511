import { expect, test } from "vitest";
import { CodedError } from "../../../errors/index.ts";
import type { JobDescription } from "../../../proto/index.ts";
import { JobShelf } from "../../../worker/link/job-shelf.ts";
import type { LocalJob } from "../../../worker/link/local-job.ts";

/** A shelf with one job, whose loads are answered by hand. */
function shelf() {
  const loads: { loaded(): void; failed(code: string): void }[] = [];
  const logged: string[] = [];
  const local = {} as LocalJob;
  const jobs = new JobShelf(
    () =>
      new Promise((resolve, reject) => {
        loads.push({
          loaded: () => resolve(local),
          failed: (code) => reject(new CodedError(code, code, { hint: "" })),
        });
      }),
    (_level, event) => logged.push(event),
  );
  jobs.describe({ jobId: "j", planSha256: new Uint8Array(32), shards: [] } as unknown as JobDescription);
  return { jobs, loads, logged, local };
}

/** Lets whoever waits for a promise that is settled go on. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("a load that failed is not remembered, whatever failed it", async () => {
  const { jobs, loads, logged, local } = shelf();
  const first = jobs.local("j");
  loads[0]?.failed("link/unknown-job");
  await expect(first).rejects.toMatchObject({ code: "link/unknown-job" });
  expect(logged).toEqual(["job cannot be worked on"]);
  const second = jobs.local("j");
  loads[1]?.loaded();
  expect(await second).toBe(local);
  expect(await jobs.local("j")).toBe(local);
  expect(loads).toHaveLength(2);
});

test("who waits for an earlier load has it tried once more; all who wait share that", async () => {
  const { jobs, loads, logged, local } = shelf();
  const first = jobs.local("j");
  const later = [jobs.local("j"), jobs.local("j"), jobs.local("j")];
  loads[0]?.failed("link/unknown-job");
  await expect(first).rejects.toMatchObject({ code: "link/unknown-job" });
  await settled();
  expect(loads).toHaveLength(2);
  loads[1]?.loaded();
  expect(await Promise.all(later)).toEqual([local, local, local]);
  expect(logged).toHaveLength(1);
});

test("a load that fails again fails all who shared it, and is logged once", async () => {
  const { jobs, loads, logged } = shelf();
  const first = jobs.local("j");
  const later = [jobs.local("j"), jobs.local("j")];
  loads[0]?.failed("worker/root");
  await expect(first).rejects.toMatchObject({ code: "worker/root" });
  await settled();
  loads[1]?.failed("worker/root");
  const outcomes = await Promise.allSettled(later);
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(logged).toHaveLength(2);
});
