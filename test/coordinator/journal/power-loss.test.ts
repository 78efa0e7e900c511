import fc from "fast-check";
import { expect, test } from "vitest";
import { type FileJournal, openFileJournal, type Sequence } from "../../../coordinator/journal/index.ts";
import { placeOf } from "../../../storage/index.ts";
import { type Fault, SimulatedStore } from "../../support/simulated-store.ts";
import { entry, recordsOf } from "../journal.contract.ts";

const PATH = placeOf("/journal");

/** What happens to a journal from one opening to the next. */
interface Life {
  /** Appends made at once, and awaited before the next; each the length of its body. */
  readonly groups: readonly (readonly number[])[];
  readonly fault: Fault;
  /** The fault happens in this operation of the life, opening included, if it gets that far. */
  readonly at: number;
  /** How it ends: a crash of the machine, or of the process only. */
  readonly end: "crash" | "kill";
  readonly seed: number;
}

const life: fc.Arbitrary<Life> = fc.record({
  groups: fc.array(fc.array(fc.oneof(fc.nat(60), fc.nat(6000)), { minLength: 1, maxLength: 8 }), { maxLength: 6 }),
  fault: fc.constantFrom<Fault>("power-loss", "power-loss", "full", "io"),
  at: fc.integer({ min: 1, max: 24 }),
  end: fc.constantFrom("crash", "crash", "kill"),
  seed: fc.integer(),
});

test("whatever fails and whenever, acknowledged entries stay, in order, and nothing else stands between", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(life, { minLength: 1, maxLength: 6 }),
      fc.constantFrom("shown", "dropped"),
      async (lives, then) => {
        let store = new SimulatedStore();
        store.afterFailedSync = then as "shown" | "dropped";
        /** Bodies in the order of their appends, and how many of them must be there. */
        let appended: string[] = [];
        let acknowledged = 0;

        async function checked(journal: FileJournal): Promise<void> {
          const found = (await recordsOf(journal)).map((record) => String(record.entry.body));
          expect(found).toEqual(appended.slice(0, found.length));
          expect(found.length).toBeGreaterThanOrEqual(acknowledged);
          expect(journal.lostRecords).toBe(0);
          appended = found;
          acknowledged = found.length; // who has read them builds on them
        }

        async function live({ groups }: Life): Promise<void> {
          const journal = await openFileJournal(store, PATH);
          await checked(journal);
          for (const lengths of groups) {
            const appends = lengths.map((length) => {
              const after = BigInt(appended.length) as Sequence;
              const body = `${appended.length}`.padEnd(length, "-");
              appended.push(body);
              return journal.append(entry("s", body), after).then((sequence) => {
                expect(sequence).toBe(after + 1n);
                acknowledged++;
              });
            });
            const failed = (await Promise.allSettled(appends)).filter((outcome) => outcome.status === "rejected");
            for (const { reason } of failed) expect(reason).toMatchObject({ code: "journal/unavailable" });
            if (failed.length > 0) break;
          }
          await journal.close();
        }

        for (const each of lives) {
          store.failAt(each.at, each.fault);
          await live(each).catch((error) => expect(error.name).toMatch(/^(PowerLoss|StorageError|JournalError)$/));
          // Without power there is no killing the process only.
          store = each.end === "kill" && !store.off ? store.restart() : store.crash(each.seed);
        }
        const journal = await openFileJournal(store, PATH);
        await checked(journal);
        await journal.append(entry("next", "works"), 0n as Sequence);
        expect(await recordsOf(journal)).toHaveLength(appended.length + 1);
      },
    ),
    { numRuns: 400 },
  );
});

test("a crash in every single operation of a journal's life leaves what was acknowledged", async () => {
  for (let at = 1; ; at++) {
    const store = new SimulatedStore();
    store.failAt(at, "power-loss");
    let acknowledged = 0;
    let failed = false;
    try {
      const journal = await openFileJournal(store, PATH);
      for (; acknowledged < 5; acknowledged++) {
        await journal.append(entry("s", acknowledged), BigInt(acknowledged) as Sequence);
      }
    } catch {
      failed = true;
    }
    for (let seed = 0; seed < 20; seed++) {
      const journal = await openFileJournal(store.crash(seed), PATH);
      const bodies = (await recordsOf(journal)).map((record) => record.entry.body);
      expect([acknowledged, acknowledged + 1]).toContain(bodies.length);
      expect(bodies).toEqual([0, 1, 2, 3, 4].slice(0, bodies.length));
    }
    if (!failed) return;
  }
});
