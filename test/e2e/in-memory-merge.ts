/** A small merge on a disk in memory: what it should give, and runs of it that may be cut short. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type MergeRun, type MergeSettings, runMerge } from "../support/run-merge.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { type Operation, SimulatedStore } from "../support/simulated-store.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";
import { sha256 } from "./cli-process.ts";

export const OUT = "/out";
const WORKERS = 2;
const SLOTS = 2;
export const SLICES_IN_FLIGHT = WORKERS * SLOTS;

export const RECIPE = `merge_method: ties
base_model: base
models:
  - {model: one, parameters: {weight: 0.6, density: 0.5}}
  - {model: two, parameters: {weight: 0.3, density: 0.4}}
dtype: float32
`;

/** `wide` has two blocks and is cut into two slices; the others are a slice each. */
const SHAPES: readonly (readonly [string, readonly number[]])[] = [
  ["a.weight", [24, 16]],
  ["b.weight", [16, 40]],
  ["wide.weight", [1100, 64]],
  ["c.weight", [30, 16]],
  ["d.bias", [96]],
  ["e.weight", [12, 50]],
  ["f.weight", [64, 16]],
];

/** Models made up from a seed, with a config and a tokenizer file so that documents are published too. */
export async function diskWithModels(): Promise<SimulatedStore> {
  const folder = mkdtempSync(join(tmpdir(), "deltaworks-models-"));
  try {
    for (const [model, name] of ["base", "one", "two"].entries()) {
      const random = seededRandom(100 + model);
      const tensors = SHAPES.map(([tensor, shape]) => {
        const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random() - 0.5);
        return { name: tensor, dtype: "F32", shape, bytes: new Uint8Array(values.buffer) };
      });
      writeSafetensors(join(folder, name, "model.safetensors"), tensors);
      writeFileSync(join(folder, name, "config.json"), '{ "model_type": "invented", "torch_dtype": "float32" }\n');
      writeFileSync(join(folder, name, "tokenizer_config.json"), `{ "name": "${name}" }\n`);
    }
    return await SimulatedStore.fromDirectory(folder, "/models");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** How a run ended. A rejection is an end like another: the store or the directory refused. */
export interface Attempt {
  readonly run: MergeRun | undefined;
  readonly error: (Error & { readonly code?: string; readonly hint?: string }) | undefined;
  /** "done", or the code of what went wrong. */
  readonly ended: string;
  /** Slices that the job knew to be durable when it ended. */
  readonly acknowledged: number;
}

export async function attempt(store: SimulatedStore, settings: Partial<MergeSettings> = {}): Promise<Attempt> {
  let acknowledged = 0;
  const onProgress: MergeSettings["onProgress"] = (progress) => {
    acknowledged = Math.max(acknowledged, progress.slicesDone);
    settings.onProgress?.(progress);
  };
  try {
    const run = await runMerge(RECIPE, OUT, {
      models: "/models",
      store,
      workers: WORKERS,
      sliceBytes: 1024,
      shardBytes: 200_000,
      ...settings,
      onProgress,
    });
    const { outcome, cause } = run.outcome;
    return { run, error: undefined, ended: cause?.code ?? outcome, acknowledged };
  } catch (thrown) {
    const error = thrown as NonNullable<Attempt["error"]>;
    return { run: undefined, error, ended: error.code ?? error.name, acknowledged };
  }
}

/** SHA-256 of each file of the output. */
export function filesOf(store: SimulatedStore): Record<string, string> {
  const paths = store.paths(OUT).filter((path) => !path.startsWith(join(OUT, ".deltaworks")));
  return Object.fromEntries(paths.map((path) => [path, sha256(store.contentOf(path) ?? new Uint8Array())]));
}

/** What any loader needs to take a directory for a checkpoint. */
export function hasWayIn(store: SimulatedStore): boolean {
  return Object.keys(filesOf(store)).some((path) => /model\.safetensors(\.index\.json)?$/.test(path));
}

/** Writes of slices' bytes, of which each slice here makes one. */
export function sliceWrites(operations: readonly Operation[]): number {
  const isSlice = ({ kind, path, offsetBytes = 0 }: Operation) =>
    kind === "write" && path.includes("/stage/") && path.endsWith(".safetensors") && offsetBytes > 0;
  return operations.filter(isSlice).length;
}
