import { describe, expect, test } from "vitest";
import {
  ATTEMPTS_PER_EPOCH,
  attemptBaseOf,
  type Entry,
  type Epoch,
  EpochView,
  noEpoch,
  type Sequence,
  stamped,
  takeOverEntry,
} from "../../../coordinator/journal/index.ts";

const epoch = (number: number, holder: string): Epoch => ({ number: BigInt(number) as Sequence, holder });
const [A, B] = [epoch(1, "a"), epoch(3, "b")];
const slice = (body: number): Entry => ({ subject: "slice/1", body });

/** Bodies that count among entries of sequences 1, 2, 3, and so on; take-overs left out. */
function bodiesThatCount(...entries: Entry[]) {
  const view = new EpochView();
  return entries.flatMap((entry, k) => {
    const record = view.see({ entry, sequence: BigInt(k + 1) as Sequence });
    return record === undefined || record.entry === entry ? [] : [record.entry.body];
  });
}

describe("an entry", () => {
  test("counts in the epoch of the last take-over before it", () => {
    expect(bodiesThatCount(takeOverEntry("a", null), stamped(slice(1), A))).toEqual([1]);
  });

  test("of an epoch that was taken over is void, whatever its subject holds", () => {
    const entries = [takeOverEntry("a", null), stamped(slice(1), A), takeOverEntry("b", null)];
    expect(bodiesThatCount(...entries, stamped(slice(2), A), stamped(slice(3), B))).toEqual([1, 3]);
  });

  test("of the same number and another holder is void: after a loss, numbers come again", () => {
    expect(bodiesThatCount(takeOverEntry("a", null), stamped(slice(1), epoch(1, "lost")))).toEqual([]);
  });

  test("without an epoch counts until there is a take-over", () => {
    const view = new EpochView();
    const record = (sequence: bigint) => ({ entry: slice(7), sequence: sequence as Sequence });
    expect(view.see(record(1n))).toEqual(record(1n));
    view.see({ entry: takeOverEntry("a", null), sequence: 2n as Sequence });
    expect(view.see(record(3n))).toBeUndefined();
    expect(view.voidCount).toBe(1);
  });

  test("that only looks like a take-over begins no epoch", () => {
    const view = new EpochView();
    view.see({ entry: { ...takeOverEntry("a", null), subject: "slice/1" }, sequence: 1n as Sequence });
    expect(view.current).toEqual(noEpoch);
  });
});

test("attempts of a later epoch lie above all of an earlier one, as far as numbers are exact", () => {
  expect(attemptBaseOf(A) + ATTEMPTS_PER_EPOCH - 1).toBeLessThan(attemptBaseOf(epoch(2, "")));
  expect(attemptBaseOf(noEpoch)).toBe(0);
  expect(Math.floor((attemptBaseOf(B) + 12_345) / ATTEMPTS_PER_EPOCH)).toBe(3);
  const last = epoch(2 ** 33 - 2, "");
  expect(Number.isSafeInteger(attemptBaseOf(last) + ATTEMPTS_PER_EPOCH)).toBe(true);
  expect(() => attemptBaseOf(epoch(2 ** 33, ""))).toThrow("no numbers left");
});
