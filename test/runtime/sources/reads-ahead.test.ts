import { expect, test } from "vitest";
import type { StoredSource, TensorSource } from "../../../merge/work/index.ts";
import { ReadsAhead, type Wanted } from "../../../runtime/sources/reads-ahead.ts";

const stored = (tensor: string): StoredSource => ({
  ...{ tensor, dtype: "F32", storedRowLength: 10, input: 0, file: 0, offsetBytes: 0 },
});
const [base, one, two] = ["base", "one", "two"].map(stored) as [StoredSource, StoredSource, StoredSource];
const derived = { ...base, kind: "rows" } as unknown as TensorSource;
const chunks = [0, 100, 200].map((first) => ({ first, count: 100 }));

/** Reads sources for all chunks in an order; what was begun ahead, and what had to be read when it was asked for. */
function readAll(expected: readonly TensorSource[], orders: readonly (readonly TensorSource[])[], held = "") {
  const begun: string[] = [];
  const late: string[] = [];
  const nameOf = ({ source, first }: Wanted) => `${source.tensor}@${first}`;
  const ahead = new ReadsAhead(expected, (wanted) => begun.push(nameOf(wanted)));
  for (const [k, order] of orders.entries()) {
    const chunk = chunks[k]!;
    for (const source of order) {
      const wanted = { source: source as StoredSource, ...chunk };
      if (source.kind === undefined && ahead.take(wanted) === undefined) late.push(nameOf(wanted));
      ahead.wasRead(source, chunk, chunks[k + 1], (next) => nameOf(next) !== held);
    }
  }
  return { begun, late };
}

test("the next source is begun when one was read, and the first one of the next chunk after the last", () => {
  const order = [base, one, two];
  expect(readAll(order, [order, order, order])).toEqual({
    begun: ["one@0", "two@0", "base@100", "one@100", "two@100", "base@200", "one@200", "two@200"],
    late: ["base@0"],
  });
});

test("nothing is begun behind the last chunk's last source, or that is held, or made of others", () => {
  expect(
    readAll(
      [base, one],
      [
        [base, one],
        [base, one],
        [base, one],
      ],
      "one@100",
    ).late,
  ).toEqual(["base@0", "one@100"]);
  expect(readAll([base, derived, two], [[base, derived, two]]).begun).toEqual(["two@0", "base@100"]);
});

test("another order than the task's is found out after one read for nothing, and followed from the next chunk on", () => {
  const order = [base, two];
  const { begun, late } = readAll([base, one, two], [order, order, order]);
  expect(begun).toEqual(["one@0", "two@100", "base@200", "two@200"]);
  expect(late).toEqual(["base@0", "two@0", "base@100"]);
});

test("where no order holds reading ahead ends", () => {
  const { begun } = readAll(
    [base, one, two],
    [
      [base, two, one],
      [one, base, two],
      [two, one, base],
    ],
  );
  expect(begun.length).toBeLessThanOrEqual(4);
});
