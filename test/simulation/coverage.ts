import type { Finding } from "./cluster.ts";
import { faultKinds } from "./faults.ts";

/** Phases in which faults can strike, in the order of a job's life. */
export const phases = [
  "planned",
  "surveying",
  "merging",
  "sealing",
  "publishing",
  "paused",
  "stopping",
  "failing",
  "cancelling",
  "terminating",
] as const;

/** What the core counts, of which each must happen somewhere. */
export const countersWanted = [
  "stale-report",
  "refused-report",
  "lapsed-lease",
  "failed-attempt",
  "lost-slice",
  "second-attempt",
  "audit",
  "dispute",
  "handed-back",
  "worker-set-aside",
  "granted-early",
] as const;

interface CoverageData {
  readonly seeds: number;
  readonly turns: number;
  readonly happened: readonly (readonly [string, number])[];
  readonly counters: readonly (readonly [string, number])[];
  readonly outcomes: readonly (readonly [string, number])[];
  readonly phases: readonly (readonly [string, number])[];
}

/** What many seeds together exercised. */
export class Coverage {
  seeds = 0;
  turns = 0;
  readonly happened = new Map<string, number>();
  readonly counters = new Map<string, number>();
  readonly outcomes = new Map<string, number>();
  readonly phases = new Map<string, number>();

  add(finding: Finding): void {
    this.seeds++;
    this.turns += finding.turns;
    addAll(this.happened, finding.happened);
    addAll(this.counters, finding.counters);
    addAll(this.outcomes, [[finding.outcome, 1]]);
    addAll(
      this.phases,
      [...finding.phases].map((phase) => [phase, 1]),
    );
  }

  toData(): CoverageData {
    const { seeds, turns, happened, counters, outcomes, phases } = this;
    return {
      seeds,
      turns,
      happened: [...happened],
      counters: [...counters],
      outcomes: [...outcomes],
      phases: [...phases],
    };
  }

  addData(data: CoverageData): void {
    this.seeds += data.seeds;
    this.turns += data.turns;
    addAll(this.happened, data.happened);
    addAll(this.counters, data.counters);
    addAll(this.outcomes, data.outcomes);
    addAll(this.phases, data.phases);
  }

  /** Kinds of faults, phases, counters and outcomes that no seed had. */
  missing(): readonly string[] {
    const kinds = new Set([...this.happened.keys()].map((key) => key.split("/")[0]));
    return [
      ...faultKinds.filter((kind) => !kinds.has(kind)).map((kind) => `fault ${kind}`),
      ...phases.filter((phase) => phase !== "planned" && !this.phases.has(phase)).map((phase) => `phase ${phase}`),
      ...countersWanted.filter((counter) => !this.counters.has(counter)).map((counter) => `count of ${counter}`),
      ...["done", "cancelled", "failed"]
        .filter((outcome) => !this.outcomes.has(outcome))
        .map((end) => `outcome ${end}`),
    ];
  }

  /** Faults by phase, how often they struck. */
  table(): string {
    const width = Math.max(...faultKinds.map((kind) => kind.length));
    const row = (name: string, cells: readonly (string | number)[]) =>
      `${name.padEnd(width)} ${cells.map((cell) => String(cell).padStart(11)).join("")}`;
    const rows = faultKinds.map((kind) =>
      row(
        kind,
        phases.map((phase) => this.happened.get(`${kind}/${phase}`) ?? "."),
      ),
    );
    const list = (values: ReadonlyMap<string, number>) =>
      [...values]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, count]) => `${name} ${count}`)
        .join(", ");
    return [
      row("fault", phases),
      ...rows,
      `outcomes: ${list(this.outcomes)}`,
      `counted: ${list(this.counters)}`,
      `${this.seeds} seeds, ${Math.round(this.turns / Math.max(1, this.seeds))} turns each`,
    ].join("\n");
  }
}

function addAll(sums: Map<string, number>, more: Iterable<readonly [string, number]>): void {
  for (const [name, count] of more) sums.set(name, (sums.get(name) ?? 0) + count);
}
