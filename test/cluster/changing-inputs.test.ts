/** An input that changes while workers on several machines read it: the job fails, names the file, and publishes nothing. */
import { copyFileSync, existsSync, renameSync, truncateSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DEBUG, did, MixedRig, TIMES } from "./mixed-rig.ts";

const replace = (path: string) => {
  copyFileSync(path, `${path}.new`);
  renameSync(`${path}.new`, path);
};

test.each<[string, (path: string) => void, RegExp]>([
  ["replaced by another", replace, /^merge\/input-changed$/],
  ["written to", (path) => utimesSync(path, new Date(), new Date(2000)), /^merge\/input-changed$/],
  // Whoever reads it next, or looks at it first.
  ["cut short", (path) => truncateSync(path, 1000), /^merge\/input-changed$|^storage\/short-read$/],
])("an input is %s in the middle of a job of two workers", async (_, change, code) => {
  const rig = new MixedRig();
  const { address } = await rig.coordinator(TIMES);
  const slow = { call: "write", path: "\\.deltaworks/stage/.*safetensors$", do: "slow", ms: 60 } as const;
  const workers = ["a", "b"].map((name) => rig.worker(address, name, DEBUG, { faults: [slow] }));
  for (const worker of workers) await did(worker, "attached");
  const job = rig.submit(address, rig.recipe(), "job");
  await did(workers[0]!, "written", 3);
  change(join(rig.models, "one", "model.safetensors"));
  expect((await job.ended).code, job.stdout).toBe(1);
  const { cause } = job.events.find(({ event }) => event === "ended") as unknown as { cause: Record<string, string> };
  expect(cause).toMatchObject({ code: expect.stringMatching(code), message: expect.stringContaining("one") });
  expect(existsSync(join(rig.out, "job", "model.safetensors"))).toBe(false);
});
