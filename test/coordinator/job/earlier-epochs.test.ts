import { expect, test } from "vitest";
import { aboutEpoch, EpochsSeen, earlierEpochs } from "../../../coordinator/job/earlier-epochs.ts";
import type { Sequence } from "../../../coordinator/journal/index.ts";
import { takeOverEntry } from "../../../coordinator/journal/index.ts";
import type { Json } from "../../../merge/work/index.ts";

type Told = readonly [subject: string, body: Json];
const begins = (fenceMs?: number): Told => ["job", takeOverEntry("aa", aboutEpoch("1.0.0", fenceMs)).body];
const names = (worker: string, gone = false): Told => [
  `writer/${worker}`,
  { incarnation: "i", ...(gone ? { gone } : {}) },
];
const says = (state: string): Told => ["job", { state }];

function after(...told: readonly Told[]) {
  const seen = new EpochsSeen();
  for (const [k, [subject, body]] of told.entries()) {
    seen.see({ entry: { subject, body }, sequence: BigInt(k + 1) as Sequence });
  }
  const { writers, fenceMs } = earlierEpochs(seen.epochs, 99);
  return [writers?.map(({ worker }) => worker).join(" "), fenceMs];
}

test.each<[string, readonly Told[], ReturnType<typeof after>]>([
  ["nobody has led", [], ["", 0]],
  ["an epoch that named two workers", [begins(50), names("a"), names("b")], ["a b", 50]],
  ["one of them has gone", [begins(50), names("a"), names("b"), names("a", true)], ["b", 50]],
  ["one went and came back", [begins(50), names("a"), names("a", true), names("a")], ["a", 50]],
  ["two epochs of different leases", [begins(80), names("a"), begins(50), names("b")], ["a b", 80]],
  ["the second one waited for the first", [begins(80), names("a"), begins(50), names("b"), says("alone")], ["b", 50]],
  ["a clean end", [begins(50), names("a"), says("stopped")], ["", 0]],
  ["a clean end, and another epoch", [begins(50), names("a"), says("stopped"), begins(60), names("b")], ["b", 60]],
  ["an epoch that does not name its writers", [begins(), begins(50), names("a")], [undefined, 99]],
  ["a job that began anew in the same journal", [begins(50), names("a"), says("begun")], ["a", 50]],
  ["threads of a process", [begins(0)], ["", 0]],
])("%s", (_, told, expected) => {
  expect(after(...told)).toEqual(expected);
});
