import { describe, expect, test } from "vitest";
import { aboutEpoch, EpochsSeen, earlierEpochs, isProven } from "../../../coordinator/job/earlier-epochs.ts";
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

function seenOf(told: readonly Told[]): EpochsSeen {
  const seen = new EpochsSeen();
  for (const [k, [subject, body]] of told.entries()) {
    seen.see({ entry: { subject, body }, sequence: BigInt(k + 1) as Sequence });
  }
  return seen;
}

const after = (...told: readonly Told[]) => earlierEpochs(seenOf(told).epochs, 99);

const namesFor = (worker: string, from: number, to: number): Told => [
  `writer/${worker}`,
  { incarnation: "i", from, to },
];

test("what a run may be writing is all that it was named for since it began, in whichever epoch", () => {
  const stretchesAfter = (...told: readonly Told[]) => after(...told).writers?.map(({ stretches }) => stretches);
  const two = [namesFor("a", 0, 4), namesFor("a", 8, 12)];
  const both = [
    { from: 0, to: 4 },
    { from: 8, to: 12 },
  ];
  expect(stretchesAfter(begins(50), ...two)).toEqual([both]);
  expect(stretchesAfter(begins(50), namesFor("a", 0, 4), begins(50), namesFor("a", 8, 12))).toEqual([both]);
  expect(stretchesAfter(begins(50), namesFor("a", 0, 4), names("a", true), namesFor("a", 8, 12))).toEqual([[both[1]]]);
  // An earlier version named no slices: it may have been granted any.
  expect(stretchesAfter(begins(50), names("a"), namesFor("a", 0, 4))).toEqual([undefined]);
  expect(stretchesAfter(begins(50), namesFor("a", 0, 4), names("a"))).toEqual([undefined]);
});

test.each<[string, readonly Told[], [writers: string | undefined, fenceMs: number]]>([
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
  const { writers, fenceMs } = after(...told);
  expect([writers?.map(({ worker }) => worker).join(" "), fenceMs]).toEqual(expected);
});

describe("a journal that several coordinators share tells all", () => {
  const of = (coordinator: string, keeper?: string, fenceMs = 50): Told => {
    const about = aboutEpoch("1.0.0", fenceMs, { coordinator, ...(keeper === undefined ? {} : { keeper }) });
    return ["job", takeOverEntry("aa", about).body];
  };
  /** As the last of these sees it, whose epoch is the last. */
  function proven(told: readonly Told[], keeper: string | undefined): boolean {
    const seen = seenOf(told);
    const earlier = seen.epochs.slice(0, -1);
    return isProven(earlier, seen.keeperBefore, keeper, (coordinator) => coordinator.startsWith("dead"));
  }

  test.each<[string, readonly Told[], string | undefined, boolean]>([
    ["after a leader that has ended", [of("dead", "k"), of("me", "k")], "k", true],
    ["after several", [of("dead-1", "k"), of("dead-2", "k"), of("me", "k")], "k", true],
    ["not after one that may live on", [of("other", "k"), of("me", "k")], "k", false],
    ["not where any of them may", [of("other", "k"), of("dead", "k"), of("me", "k")], "k", false],
    ["after one that may, but ended it cleanly", [of("other", "k"), says("stopped"), of("me", "k")], "k", true],
    [
      "after one that may, whose writers another waited for",
      [of("other", "k"), of("dead", "k"), says("alone"), of("me", "k")],
      "k",
      true,
    ],
    ["not where it may have forgotten something since", [of("dead", "k"), of("me", "k")], "l", false],
    [
      "not even a clean end, after which it may have forgotten another epoch",
      [of("dead", "k"), says("stopped"), of("me", "l")],
      "l",
      false,
    ],
    ["not where it may have in an epoch before", [of("dead", "k"), of("dead", "l"), of("me", "l")], "l", false],
    ["not where nobody can tell", [of("dead"), of("me")], undefined, false],
    ["not where the leader before did not say", [begins(50), of("me", "k")], "k", false],
    ["not where there was none, for it may have forgotten it", [of("me", "k")], "k", false],
  ])("%s", (_, told, keeper, expected) => {
    expect(proven(told, keeper)).toBe(expected);
  });
});
