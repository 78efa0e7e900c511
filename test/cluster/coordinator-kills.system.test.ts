/** The coordinator is killed at every kind of record that it writes into a job's journal, and started again. */
import { join } from "node:path";
import { expect, test } from "vitest";
import type { StorageFault } from "../support/child-process.ts";
import { MixedRig, TIMES, timesDone } from "./mixed-rig.ts";

/** Of the bytes that are being written; in the order of a job's life. */
const RECORDS = {
  header: { holds: '"format":"deltaworks journal"' },
  begun: { holds: '"state":"begun"' },
  "take-over": { holds: '"state":"take-over"' },
  verdict: { holds: '"subject":"verdict/' },
  "slice done": { holds: '"subject":"slice/', from: 3 },
  publishing: { holds: '"state":"publishing"' },
  done: { holds: '"subject":"job".*"state":"done"' },
} as const;

test.each(["kill", "kill-after"] as const)(
  "at each kind of record in turn (%s the write): the job ends, and no slice is recorded twice",
  async (what) => {
    const rig = new MixedRig();
    const dying = (record: keyof typeof RECORDS): { readonly faults: readonly StorageFault[] } => ({
      faults: [{ call: "write", path: "\\.deltaworks/journal$", thread: "main", do: what, ...RECORDS[record] }],
    });
    const [first = "header", ...later] = Object.keys(RECORDS) as (keyof typeof RECORDS)[];
    let { cli, address } = await rig.coordinator(TIMES, dying(first));
    rig.worker(address, "w1");
    // That the job is queued is durable before it begins; whether the answer gets through is another matter.
    rig.submit(address, rig.recipe(), "job", ["--no-wait"]);
    for (const record of later) {
      expect((await cli.ended).signal).toBe("SIGKILL");
      ({ cli, address } = await rig.coordinator([...TIMES, "--listen", address], dying(record)));
    }
    expect((await cli.ended).signal).toBe("SIGKILL");
    ({ cli } = await rig.coordinator([...TIMES, "--listen", address]));
    const end = await cli.event(({ msg }) => msg === "job ended");
    expect(end.outcome).toBe("done");
    await rig.expectMerged("job");
    expect(Math.max(...timesDone(join(rig.out, "job")).values())).toBe(1);
  },
);
