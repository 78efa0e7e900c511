import { bucketFaultKinds, scenarios } from "./bucket-faults.ts";
import type { BucketFinding } from "./bucket-story.ts";

type Counts = readonly (readonly [string, number])[];

/** What many seeds of buckets together exercised. */
export class BucketCoverage {
  #seeds = 0;
  #turns = 0;
  readonly #happened = new Map<string, number>();
  /** "scenario machine: end" */
  readonly #ends = new Map<string, number>();

  add({ scenario, ends, happened, turns }: BucketFinding): void {
    this.#seeds++;
    this.#turns += turns;
    addAll(this.#happened, [...happened]);
    addAll(
      this.#ends,
      ends.map((end) => [`${scenario} ${end}`, 1]),
    );
  }

  toData() {
    const [happened, ends]: [Counts, Counts] = [[...this.#happened], [...this.#ends]];
    return { seeds: this.#seeds, turns: this.#turns, happened, ends };
  }

  addData({ seeds, turns, happened, ends }: ReturnType<BucketCoverage["toData"]>): void {
    this.#seeds += seeds;
    this.#turns += turns;
    addAll(this.#happened, happened);
    addAll(this.#ends, ends);
  }

  /** Faults and scenarios that no seed had. */
  missing(): readonly string[] {
    const had = new Set([...this.#ends.keys()].map((end) => end.split(" ")[0]));
    return [
      ...bucketFaultKinds.filter((kind) => !this.#happened.has(kind)).map((kind) => `fault ${kind}`),
      ...scenarios.filter((scenario) => !had.has(scenario)).map((scenario) => `scenario ${scenario}`),
    ];
  }

  table(): string {
    const lines = (counts: ReadonlyMap<string, number>) =>
      [...counts]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, count]) => `${name} ${count}`)
        .join(", ");
    return [
      `faults: ${lines(this.#happened)}`,
      `ends: ${lines(this.#ends)}`,
      `${this.#seeds} seeds, ${Math.round(this.#turns / Math.max(1, this.#seeds))} turns each`,
    ].join("\n");
  }
}

function addAll(sums: Map<string, number>, more: Counts): void {
  for (const [name, count] of more) sums.set(name, (sums.get(name) ?? 0) + count);
}
