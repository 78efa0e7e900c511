import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { shareSlots } from "../../../coordinator/service/index.ts";

const totals = (shares: ReturnType<typeof shareSlots>) => {
  const sums = new Map<string, number>();
  for (const mine of shares.values()) for (const [id, slots] of mine) sums.set(id, (sums.get(id) ?? 0) + slots);
  return Object.fromEntries(sums);
};
const workers = Array.from({ length: 5 }, (_, k) => ({ id: `w${k}`, slots: 4 }));
const job = (id: string, priority: number, wanted: number) => ({ id, priority, wanted });

describe("slots of all workers", () => {
  test("go to the job of the highest priority, as many as it wants, and then to the next", () => {
    expect(totals(shareSlots(workers, [job("low", 1, 100), job("high", 3, 15)]))).toEqual({ high: 15, low: 5 });
  });

  test("are halved among equals, and what one does not want the other gets", () => {
    expect(totals(shareSlots(workers, [job("a", 2, 100), job("b", 2, 100)]))).toEqual({ a: 10, b: 10 });
    expect(totals(shareSlots(workers, [job("a", 2, 3), job("b", 2, 100)]))).toEqual({ a: 3, b: 17 });
  });

  test("that nobody wants go to the first", () => {
    expect(totals(shareSlots(workers, [job("a", 2, 1), job("b", 4, 2)]))).toEqual({ a: 1, b: 19 });
  });

  test("are never given out twice, and none is left over, whatever the workers and jobs", () => {
    const some = fc.array(fc.nat({ max: 40 }), { minLength: 1, maxLength: 30 });
    const wants = fc.array(fc.record({ priority: fc.nat({ max: 4 }), wanted: fc.nat({ max: 200 }) }), {
      minLength: 1,
      maxLength: 6,
    });
    fc.assert(
      fc.property(some, wants, (slots, asked) => {
        const shares = shareSlots(
          slots.map((count, k) => ({ id: `w${k}`, slots: count })),
          asked.map((one, k) => ({ id: `j${k}`, ...one })),
        );
        for (const [k, count] of slots.entries()) {
          const given = [...shares.get(`w${k}`)!.values()].reduce((sum, one) => sum + one, 0);
          expect(given).toBeLessThanOrEqual(count);
        }
        const all = Object.values(totals(shares)).reduce((sum, one) => sum + one, 0);
        expect(all).toBe(slots.reduce((sum, one) => sum + one, 0));
      }),
    );
  });
});
