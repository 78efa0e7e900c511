/** A rig whose job goes through every phase: two tensors are cut over workers, so there are surveys and verdicts. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { hashesOf, journalOf, run } from "../e2e/cli-process.ts";
import { STACKED_SIZES } from "../e2e/stacked-recipe.ts";
import { writeModels } from "../runtime/generated-models.ts";
import type { Cli, SpawnOptions } from "../support/child-process.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { Rig } from "./rig.ts";

/** Short, so that what is lost is soon lent anew. */
export const TIMES = ["--lease", "2s", "--io-timeout", "1s"] as const;
export const DEBUG = ["--log-level", "debug"] as const;

const tensor = (name: string, elements: number) =>
  ({ name, shape: [elements], dtypes: ["BF16"], style: "quantised", models: "steps" }) as const;
/** Of more than one block, and of less: a slice for each block and each small tensor. */
const TENSORS = [
  ...["cut.one", "cut.two"].map((name) => tensor(name, 2 * 65_536 + 77)),
  ...Array.from({ length: 24 }, (_, k) => tensor(`small.${String(k).padStart(2, "0")}`, 700 + k)),
];
const RECIPE = `merge_method: ties
base_model: base
out_dtype: float32
parameters: {density: 0.4, lambda: 0.9}
models:
  - {model: one, parameters: {weight: 0.7}}
  - {model: two, parameters: {weight: -0.3}}
`;

let reference: Record<string, string> | undefined;

export class MixedRig extends Rig {
  readonly models = temporaryFolder();
  override readonly roots = ["--root", `models=${this.models}`, "--root", `out=${this.out}`];

  constructor() {
    super();
    writeModels(this.models, 5, TENSORS);
  }

  override recipe(): string {
    const path = this.path("recipe.yml");
    writeFileSync(path, RECIPE);
    return path;
  }

  /** Where the job's weights lie until they are published. */
  stage(name: string): string {
    return join(this.out, name, ".deltaworks", "stage");
  }

  /** The output is what `deltaworks merge` makes, each slice is done once in the journal, and nothing is left of the work. */
  async expectMerged(name: string): Promise<void> {
    reference ??= await this.#merged();
    expect(hashesOf(join(this.out, name))).toEqual(reference);
    expect(existsSync(this.stage(name))).toBe(false);
  }

  async #merged(): Promise<Record<string, string>> {
    const out = this.path("reference");
    const args = ["--models-root", this.models, "--threads", "2", ...STACKED_SIZES];
    const { code, stderr } = await run(["merge", this.recipe(), out, ...args]);
    expect(code, stderr).toBe(0);
    return hashesOf(out);
  }
}

/** Of a command that asks the coordinator: what it prints with --json. */
export async function ask(address: string, ...args: string[]): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await run([...args, "--coordinator", address, "--json"]);
  expect(code, stderr).toBe(0);
  return stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** How often each slice was recorded as done. More than once: it was computed again. */
export function timesDone(out: string): ReadonlyMap<string, number> {
  const times = new Map<string, number>();
  for (const { subject, body } of journalOf(out)) {
    if (subject.startsWith("slice/") && body.state === "done") times.set(subject, (times.get(subject) ?? 0) + 1);
  }
  return times;
}

/** Resolves once the process has said so, as its log tells it, so many times. */
export function did(cli: Cli, what: string, times = 1): Promise<void> {
  return cli.until(() => cli.events.filter(({ msg }) => msg === what).length >= times, `${times} ${what}`);
}

export async function expectDone(job: Cli): Promise<void> {
  expect((await job.ended).code, job.stdout.slice(-1500) + job.stderr.slice(-1500)).toBe(0);
}

export type { SpawnOptions };
