/** A published output without a merge: tensors filled by a formula, so that "computing" a slice again is writing it again. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoint } from "../../checkpoint/index.ts";
import { PLAN_VERSION, type Plan, shardPreamble, type TensorTask } from "../../merge/work/index.ts";
import {
  buildManifest,
  fileOfDocument,
  type OutputFile,
  outputDocuments,
  publish,
  type RepairSource,
  recordDocuments,
  stageDocuments,
} from "../../output/index.ts";
import { layOutParts, layOutShards, layOutSlices, planDigest } from "../../plan/index.ts";
import { FileStore, type Files, type Objects, PART_MIN_BYTES, type Place, placeOf } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

export const RECIPE =
  "merge_method: linear\nmodels:\n  - {model: /secret/place/base, parameters: {weight: 1}}\n# ends without a newline";
export const CONFIG = `{
  "architectures": ["LlamaForCausalLM"],
  "model_type": "llama",
  "num_hidden_layers": 2,
  "rms_norm_eps": 1e-05,
  "rope_theta": 10000.0,
  "torch_dtype": "float32",
  "vocab_size": 32
}
`;

/** What differs between two fakes: `salt` goes into every tensor byte, the seed and so the plan. */
export interface FakeChoices {
  readonly shardBytes?: number;
  readonly salt?: number;
  readonly hashInputs?: boolean;
  readonly layout?: "parts";
}

/** Four tensors; `b` is cut into four slices, the others are bundled. 550,000 bytes of data. */
export function fakePlan({ shardBytes = 10_000_000, salt = 0, layout }: FakeChoices = {}): Plan {
  const tasks = [
    task("a.weight", [32, 8]),
    task("layers.0.b.weight", [512, 512]),
    task("layers.1.c.weight", [100, 120]),
    task("norm.weight", [8]),
  ];
  const shards = layOutShards(tasks, shardBytes);
  const isInParts = layout === "parts";
  const sliceBytes = isInParts ? PART_MIN_BYTES : 1 << 17;
  const options = { sliceBytes, shardBytes, allowNonfinite: false, ...(isInParts && { layout }) };
  const headerSha256 = "0".repeat(64);
  return {
    version: PLAN_VERSION,
    recipe: { merge_method: "linear", models: ["base"] },
    seed: String(salt),
    options,
    inputs: [{ label: "base", files: [{ name: "model.safetensors", sizeBytes: 0, headerSha256 }] }],
    definingInput: 0,
    layerCount: 2,
    embeddingRows: 32,
    tasks,
    shards,
    slices: (isInParts ? layOutParts : layOutSlices)(tasks, shards, options.sliceBytes),
    notes: [],
  };
}

function task(name: string, shape: readonly number[]): TensorTask {
  const source = { input: 0, file: 0, tensor: name, dtype: "BF16", offsetBytes: 0, storedRowLength: 8 } as const;
  const model = { ...source, index: 0, parameters: {} };
  return { name, kind: "merge", method: "linear", dtype: "BF16", shape, parameters: {}, models: [model] };
}

const made = new Map<string, Buffer>();

/** All bytes of a shard as a merge would write them. */
export function shardBytes(plan: Plan, shard: number): Buffer {
  const key = `${plan.seed} ${plan.options.shardBytes} ${shard}`;
  const bytes = made.get(key) ?? makeShard(plan, shard);
  made.set(key, bytes);
  return bytes;
}

function makeShard(plan: Plan, shard: number): Buffer {
  const { header, sizeBytes } = plan.shards[shard]!;
  const bytes = Buffer.alloc(sizeBytes);
  const preamble = shardPreamble(header);
  for (let k = 0; k < sizeBytes; k++) {
    bytes[k] =
      k < preamble.length ? preamble[k]! : (k * 7 + (k >> 8) * 13 + shard * 101 + Number(plan.seed) * 31) & 255;
  }
  return bytes;
}

export class FakeOutput {
  readonly store = new FileStore();
  readonly root = temporaryFolder();
  readonly model = join(this.root, "base");
  readonly out = placeOf(join(this.root, "out"));
  readonly stage = placeOf(join(this.out, ".deltaworks", "stage"));
  readonly choices: FakeChoices;
  /** Every slice that repair had computed. */
  readonly recomputed: number[] = [];

  constructor(choices: FakeChoices = {}) {
    this.choices = choices;
    mkdirSync(join(this.model, "additional_chat_templates"), { recursive: true });
    writeFileSync(join(this.model, "config.json"), CONFIG);
    writeFileSync(join(this.model, "tokenizer.json"), '{"version":"1.0"}\r\n');
    writeFileSync(join(this.model, "additional_chat_templates", "tool.jinja"), "{{ messages }}");
    this.writeModel(32);
  }

  writeModel(bytes: number): void {
    const tensor = { name: "a.weight", dtype: "U8", shape: [bytes], bytes: Buffer.alloc(bytes, 7) };
    writeSafetensors(join(this.model, "model.safetensors"), [tensor]);
  }

  async plan(): Promise<Plan> {
    const [file] = (await this.checkpoint()).files;
    const { name, sizeBytes, headerSha256 } = file!;
    return { ...fakePlan(this.choices), inputs: [{ label: "base", files: [{ name, sizeBytes, headerSha256 }] }] };
  }

  checkpoint() {
    return openCheckpoint(this.store, { root: placeOf(this.model) }, "base");
  }

  /** Shards, documents and records into the stage. */
  async fill(stage: Place = this.stage): Promise<readonly OutputFile[]> {
    const plan = await this.plan();
    const documents = await outputDocuments(plan, {
      store: this.store,
      recipeText: RECIPE,
      definingCheckpoint: await this.checkpoint(),
    });
    const shards = plan.shards.map(({ name }, shard) => ({ name, bytes: shardBytes(plan, shard) }));
    const files = [...shards, ...documents].map(fileOfDocument);
    const manifest = buildManifest({
      plan,
      planDigest: planDigest(plan),
      toolVersion: "0.0.1",
      sliceSha256s: plan.slices.map((slice) => sha256(sliceBytes(plan, slice))),
      files,
      inputSha256s: this.choices.hashInputs
        ? [[sha256(readFileSync(join(this.model, "model.safetensors")))]]
        : undefined,
    });
    const records = recordDocuments(manifest);
    await stageDocuments(this.store, stage, [...shards, ...documents, ...records], "1-test");
    return [...files, ...records.map(fileOfDocument)];
  }

  async publish(): Promise<this> {
    const files = await this.fill();
    await publish(this.store, this.out, { stage: this.stage, files, replaced: [] });
    rmSync(join(this.out, ".deltaworks"), { recursive: true });
    return this;
  }

  /** Every file but those of the work directory: name → SHA-256. */
  contents(): Record<string, string> {
    return contentsOf(this.out);
  }

  source(store: Files = this.store): RepairSource {
    return {
      openInputs: async () => [{ label: "base", checkpoint: await this.checkpoint() }],
      planFor: async (_recipe, _inputs, { seed, options }) => ({ plan: { ...(await this.plan()), seed, options } }),
      recomputeSlices: async (plan, slices, shardPaths) => {
        const hashes: string[] = [];
        for (const index of slices) {
          this.recomputed.push(index);
          const slice = plan.slices[index]!;
          const bytes = sliceBytes(plan, slice);
          const file = await store.openForWriting(shardPaths[slice.shard]!);
          await file.write(slice.offsetBytes, bytes);
          await file.close();
          hashes.push(sha256(bytes));
        }
        return hashes;
      },
    };
  }
}

export function sliceBytes(plan: Plan, slice: Plan["slices"][number]): Buffer {
  return shardBytes(plan, slice.shard).subarray(slice.offsetBytes, slice.offsetBytes + slice.sizeBytes);
}

export function contentsOf(directory: string, folder = ""): Record<string, string> {
  const contents: Record<string, string> = {};
  for (const entry of readdirSync(join(directory, folder), { withFileTypes: true })) {
    const name = folder === "" ? entry.name : `${folder}/${entry.name}`;
    if (name === ".deltaworks") continue;
    if (entry.isDirectory()) Object.assign(contents, contentsOf(directory, name));
    else contents[name] = sha256(readFileSync(join(directory, name)));
  }
  return contents;
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A store that tells of every change before it is made. */
export function watchedStore(store: Files, tell: (operation: string, path: string) => void): Files {
  const changing = new Set(["openForWriting", "rename", "remove", "removeDirectory", "makeDirectory", "syncDirectory"]);
  return new Proxy(store, {
    get(target, key: keyof Files) {
      const method = target[key] as (...args: unknown[]) => Promise<unknown>;
      return async (...args: unknown[]) => {
        if (changing.has(key)) tell(key, String(args[0]));
        return method.apply(target, args);
      };
    },
  });
}

/** An object store that does so many changes and then fails as if the process had been killed. */
export function crashingObjects(objects: Objects, operations: number): Objects {
  const changing = new Set(["put", "remove", "beginUpload", "putPart", "copyPart", "completeUpload", "abortUpload"]);
  let left = operations;
  return new Proxy(objects, {
    get(target, key: keyof Objects) {
      const method = target[key] as (...args: unknown[]) => Promise<unknown>;
      return async (...args: unknown[]) => {
        if (changing.has(key) && left-- <= 0) throw new Crash();
        return method.apply(target, args);
      };
    },
  });
}

/** A store that does `operations` changes and then fails as if the process had been killed. */
export function crashingStore(store: Files, operations: number): Files {
  let left = operations;
  return watchedStore(store, () => {
    if (left-- <= 0) throw new Crash();
  });
}

export class Crash extends Error {}

export function flipBit(path: string, bit: number): void {
  const bytes = readFileSync(path);
  bytes[bit >> 3]! ^= 1 << (bit & 7);
  writeFileSync(path, bytes);
}

/** Numbers in [0, limit) from a seed: the same at every run. */
export function pseudoRandom(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}
