import { describe, expect, test } from "vitest";
import { type Journal, lookAt, nothingYet, takeOver } from "../../coordinator/journal/index.ts";
import { entry, recordsOf } from "./journal.contract.ts";

/**
 * What holds for coordinators that share a journal. `begin` gives two views of one journal: as two processes would have
 * it where it can be shared, else the same one twice.
 */
export function epochContract(name: string, begin: () => Promise<readonly [Journal, Journal]>): void {
  const bodiesIn = async (journal: Journal) =>
    (await recordsOf(lookAt(journal))).filter(({ entry: { subject } }) => subject !== "job").map((r) => r.entry.body);

  describe(`${name} has epochs`, () => {
    test("each above the last; attempts are numbered apart", async () => {
      const [one, two] = await begin();
      const a = await takeOver(one, null);
      const b = await takeOver(two, { host: "b" });
      expect(b.epoch.number > a.epoch.number && a.epoch.number > nothingYet).toBe(true);
      // Any attempt of an epoch names it, and lies below all of the next.
      const epochNumberOf = (attempt: number) => BigInt(Math.floor(attempt / 2 ** 20));
      expect([a.attemptBase, a.attemptBase + 127].map(epochNumberOf)).toEqual([a.epoch.number, a.epoch.number]);
      expect([b.attemptBase, b.attemptBase + 127].map(epochNumberOf)).toEqual([b.epoch.number, b.epoch.number]);
    });

    test("bodies come back as they were appended, take-overs among them", async () => {
      const [one] = await begin();
      const leader = await takeOver(one, { host: "a" });
      const first = await leader.append(entry("slice/1", { epoch: "1-x", body: 2 }), nothingYet);
      await leader.append(entry("job", { state: "begun" }), leader.epoch.number);
      const records = await recordsOf(leader);
      expect(records.map((record) => record.entry)).toMatchObject([
        { subject: "job", body: { state: "take-over", about: { host: "a" } } },
        { subject: "slice/1", body: { epoch: "1-x", body: 2 } },
        { subject: "job", body: { state: "begun" } },
      ]);
      expect(await recordsOf(leader, first)).toHaveLength(1);
      expect(await recordsOf(lookAt(one))).toEqual(records);
    });

    test("a superseded coordinator that is first at a slice is told so, and changes nothing", async () => {
      const [one, two] = await begin();
      const old = await takeOver(one, null);
      await old.append(entry("slice/1", "old, in time"), nothingYet);
      const leader = await takeOver(two, null);
      await recordsOf(leader);
      const superseded = { code: "journal/superseded" };
      await expect(old.append(entry("slice/2", "old, too late"), nothingYet)).rejects.toMatchObject(superseded);
      await expect(old.append(entry("slice/3", "again"), nothingYet)).rejects.toMatchObject(superseded);
      await expect(old.confirm()).rejects.toMatchObject(superseded);
      await leader.append(entry("slice/2", "new"), nothingYet);
      expect(await bodiesIn(two)).toEqual(["old, in time", "new"]);
      expect(leader.voidCount).toBe(1);
    });

    test("a superseded coordinator cannot change the phase", async () => {
      const [one, two] = await begin();
      const old = await takeOver(one, null);
      await takeOver(two, null);
      const change = old.append(entry("job", { state: "publishing" }), old.epoch.number);
      await expect(change).rejects.toMatchObject({ code: "journal/superseded" });
      expect(await recordsOf(lookAt(two))).toHaveLength(2);
    });

    test("entries of the lost epoch between those of a subject do not hinder the leader", async () => {
      const [one, two] = await begin();
      const old = await takeOver(one, null);
      const leader = await takeOver(two, null);
      const first = await leader.append(entry("slice/1", 1), nothingYet);
      // As the old one would: past its own checks, straight into the journal.
      const late = entry("slice/1", { epoch: `${old.epoch.number}-${old.epoch.holder}`, body: "late" });
      await one.append(late, first);
      expect(await leader.last("slice/1")).toBe(first);
      const second = await leader.append(entry("slice/1", 2), first);
      expect(await leader.last("slice/1")).toBe(second);
      expect(await bodiesIn(two)).toEqual([1, 2]);
    });

    test("a leader that appends after the wrong entry gets a conflict, and goes on", async () => {
      const [one] = await begin();
      const leader = await takeOver(one, null);
      const first = await leader.append(entry("slice/1", 1), nothingYet);
      const wrong = leader.append(entry("slice/1", 2), nothingYet);
      await expect(wrong).rejects.toMatchObject({ code: "journal/conflict" });
      await leader.append(entry("slice/1", 2), first);
      await leader.confirm();
      expect(await bodiesIn(one)).toEqual([1, 2]);
    });

    test("of many that take over at once, all but the last are superseded", async () => {
      const [one, two] = await begin();
      const leaders = await Promise.all([one, two, one, two].map((journal) => takeOver(journal, null)));
      const outcomes = await Promise.allSettled(leaders.map((leader) => leader.confirm()));
      const last = leaders.reduce((a, b) => (a.epoch.number > b.epoch.number ? a : b));
      expect(outcomes.map(({ status }) => status === "fulfilled")).toEqual(leaders.map((leader) => leader === last));
    });

    test("appends made at once all count, and bodies are taken at the call", async () => {
      const [one] = await begin();
      const leader = await takeOver(one, null);
      const body = { count: 0 };
      const appends = Array.from({ length: 200 }, (_, k) => {
        body.count = k;
        return leader.append(entry(`slice/${k}`, body), nothingYet);
      });
      await Promise.all(appends);
      const counts = (await bodiesIn(one)).map((found) => (found as typeof body).count);
      expect(counts.sort((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, k) => k));
    });
  });
}
