import { sha256Hex } from "../../checkpoint/index.ts";
import type { Plan, Slice } from "../../merge/work/index.ts";
import { planDigest } from "../../plan/index.ts";
import {
  type Files,
  join,
  type Objects,
  PART_MIN_BYTES,
  type Place,
  readWhole,
  type Source,
  StorageError,
} from "../../storage/index.ts";
import { outputDocuments, recordDocuments } from "../documents/documents.ts";
import { recipeInCard } from "../documents/model-card.ts";
import type { OutputText } from "../documents/output-text.ts";
import { PublishError } from "../errors.ts";
import { CARD_NAME, MANIFEST_NAME, RECIPE_NAME, SUMS_NAME } from "../records/file-names.ts";
import { buildManifest, type InputSources, type Manifest, type OutputFile } from "../records/manifest.ts";
import { hashRanges } from "../seal/read-back.ts";
import { FileRepairTarget } from "./file-repair-target.ts";
import { ObjectRepairTarget } from "./object-repair-target.ts";
import { type Facts, type RepairChoices, recordedFacts } from "./recorded-facts.ts";
import { checkInputs, hashInputs, type RepairInput } from "./repair-inputs.ts";
import { type DamagedShard, notReproduced, type RecomputeSlices, rebuildShards } from "./repair-shards.ts";
import type { RepairTarget } from "./repair-target.ts";
import { type VerifyReport, verifyOutput } from "./verify.ts";

/** Recipes are a few kB, and a card holds one. */
const MAX_TEXT_BYTES = 100_000_000;

/** What repair cannot do by itself, supplied by whoever can merge. */
export interface RepairSource {
  /**
   * Finds and opens the models that the recipe names, in the order in which `planFor` makes them the plan's inputs.
   * Headers only: they are compared with the manifest before anything else is done with them. `sources`: where the merge read them, as far
   * as the records of the output say.
   */
  readonly openInputs: (recipeText: string, sources: InputSources) => Promise<readonly RepairInput[]>;
  /** The plan of the same merge, and what its output has about text. */
  readonly planFor: (
    recipeText: string,
    inputs: readonly RepairInput[],
    choices: RepairChoices,
  ) => Promise<{ readonly plan: Plan; readonly text?: OutputText | undefined }>;
  readonly recomputeSlices: RecomputeSlices;
}

export interface RepairOptions {
  /** Tried where neither mergekit_config.yml nor the card has the recipe any more; its hash must be the recorded one. */
  readonly recipeText?: string | undefined;
  readonly onRepaired?: (item: RepairedFile) => void;
}

export interface RepairedFile {
  readonly file: string;
  /** For a shard: names of the slices that were computed again; the rest was copied. */
  readonly slices?: readonly string[];
}

export interface RepairReport {
  readonly repaired: readonly RepairedFile[];
  /** Of the output as it is afterwards. Not ok only for files that nobody published: repair removes nothing. */
  readonly report: VerifyReport;
}

/**
 * Brings a published output back to the bytes it was published with, and computes only what is damaged.
 *
 * Every file is made aside, in the work directory, compared with the recorded SHA-256 and only then renamed into place:
 * a crash, a full disk or an input that changed leaves the output as it was, and the same call begins again.
 * @throws PublishError `publish/unrecoverable`, `publish/recipe-lost`, `publish/input-differs`, `publish/plan-differs`,
 * `publish/not-reproduced`; StorageError `storage/locked` while another process writes to the output
 */
export function repairOutput(
  store: Files,
  out: Place,
  source: RepairSource,
  options: RepairOptions = {},
): Promise<RepairReport> {
  return repairIn(new FileRepairTarget(store, out), out, source, options);
}

/** The same of an output in a bucket. `store`: reads the inputs, too. `gone`: see `ObjectRepairTarget`. */
export function repairBucket(
  store: Source,
  objects: Objects,
  out: Place,
  source: RepairSource,
  { gone, ...options }: RepairOptions & { readonly gone?: string | undefined } = {},
): Promise<RepairReport> {
  return repairIn(new ObjectRepairTarget(store, objects, out, gone), out, source, options);
}

async function repairIn(
  target: RepairTarget,
  out: Place,
  source: RepairSource,
  options: RepairOptions,
): Promise<RepairReport> {
  const lock = await target.begin();
  try {
    return await repairLocked(target, out, source, options);
  } finally {
    await lock.release();
  }
}

async function repairLocked(
  target: RepairTarget,
  out: Place,
  source: RepairSource,
  options: RepairOptions,
): Promise<RepairReport> {
  try {
    const before = await verifyOutput(target.source, out);
    if (before.ok) return { repaired: [], report: before };
    const repair = new Repair(target, out, source, options, await recordedFacts(target.source, out), before);
    const repaired = await repair.run();
    return { repaired, report: await verifyOutput(target.source, out) };
  } finally {
    await target.tidy();
  }
}

/** All that went into the merge, found again and compared with the records. */
interface Origin {
  readonly inputs: readonly RepairInput[];
  readonly plan: Plan;
  readonly text: OutputText | undefined;
}

class Repair {
  readonly #target: RepairTarget;
  readonly #store: Source;
  readonly #out: Place;
  readonly #source: RepairSource;
  readonly #options: RepairOptions;
  readonly #facts: Facts;
  readonly #before: VerifyReport;
  readonly #repaired: RepairedFile[] = [];

  constructor(
    target: RepairTarget,
    out: Place,
    source: RepairSource,
    options: RepairOptions,
    facts: Facts,
    before: VerifyReport,
  ) {
    this.#target = target;
    this.#store = target.source;
    this.#out = out;
    this.#source = source;
    this.#options = options;
    this.#facts = facts;
    this.#before = before;
  }

  async run(): Promise<readonly RepairedFile[]> {
    const damaged = new Set(this.#before.findings.filter(({ kind }) => kind !== "unexpected").map(({ file }) => file));
    let manifest = this.#facts.manifest;
    const madeFromRecords = new Set([RECIPE_NAME, SUMS_NAME]);
    const needsOrigin = [...damaged].some((name) => !madeFromRecords.has(name));
    if (needsOrigin || damaged.has(RECIPE_NAME)) {
      const recipeText = await this.#recipeText();
      if (damaged.has(RECIPE_NAME)) await this.#place(RECIPE_NAME, Buffer.from(recipeText, "utf8"));
      if (needsOrigin) {
        const origin = await this.#origin(recipeText);
        await this.#repairShards(origin, recipeText, damaged);
        await this.#repairDocuments(origin, recipeText, damaged);
        manifest ??= await this.#rebuildManifest(origin);
      }
    }
    if (manifest === undefined) throw new Error("a manifest that is not damaged was not read");
    for (const { name, bytes } of recordDocuments(manifest)) if (damaged.has(name)) await this.#place(name, bytes);
    return this.#repaired;
  }

  /** From mergekit_config.yml, the card or the caller: whichever has the recorded hash. */
  async #recipeText(): Promise<string> {
    const [own, card] = [await this.#maybeText(RECIPE_NAME), await this.#maybeText(CARD_NAME)];
    const copies = card === undefined ? [] : (recipeInCard(card) ?? []);
    for (const text of [own, ...copies, this.#options.recipeText]) {
      if (text !== undefined && this.#isRecorded(RECIPE_NAME, Buffer.from(text, "utf8"))) return text;
    }
    throw new PublishError(
      "publish/recipe-lost",
      `the recipe of ${this.#out} is lost: it is damaged in ${RECIPE_NAME} and in ${CARD_NAME}`,
      { hint: `Put the recipe's text back as ${RECIPE_NAME}, byte by byte, and run the same command again.` },
    );
  }

  async #origin(recipeText: string): Promise<Origin> {
    const { manifest, choices, plan: recorded, sources } = this.#facts;
    const inputs = await this.#source.openInputs(recipeText, sources);
    if (manifest !== undefined) await checkInputs(this.#store, manifest, inputs);
    const { plan, text } = await this.#source.planFor(recipeText, inputs, choices);
    const digest = planDigest(plan);
    if (digest === recorded) return { inputs, plan, text };
    throw new PublishError(
      "publish/plan-differs",
      `recipe and inputs give plan ${digest.slice(0, 12)}, the output was made by plan ${recorded.slice(0, 12)}`,
      {
        hint: `Either an input has changed, or deltaworks ${this.#facts.tool}, which made the output, plans differently.`,
      },
    );
  }

  async #repairShards(origin: Origin, recipeText: string, damaged: ReadonlySet<string>): Promise<void> {
    const { plan } = origin;
    const shards = plan.shards.flatMap(({ name }, shard) => {
      if (!damaged.has(name)) return [];
      return [{ shard, sha256: this.#recorded(name), slices: this.#slicesToCompute(plan, shard, name) }];
    });
    if (shards.length === 0) return;
    const recompute = this.#source.recomputeSlices;
    const tool = this.#facts.tool;
    if (this.#target.takesParts && plan.options.layout !== "parts") {
      const parts = await this.#inParts(origin, recipeText);
      const own = shards.map((shard) => ({ ...shard, slices: this.#partsToCompute(plan, shard, parts) }));
      await rebuildShards(this.#target, { plan: parts, shards: own, sliceSha256s: undefined, recompute, tool });
    } else {
      const sliceSha256s = this.#facts.manifest?.slices.map(({ sha256 }) => sha256);
      await rebuildShards(this.#target, { plan, shards, sliceSha256s, recompute, tool });
    }
    for (const { shard, slices } of shards) {
      const file = plan.shards[shard]?.name ?? "";
      await this.#target.placeShard(file);
      this.#tell({ file, slices: slices.map((slice) => plan.slices[slice]?.id ?? "") });
    }
  }

  /** The plan of the same files in slices that are parts: the output was made in a folder, and lies in a bucket now. */
  async #inParts({ inputs, plan }: Origin, recipeText: string): Promise<Plan> {
    const { seed, options } = this.#facts.choices;
    const sliceBytes = Math.max(options.sliceBytes, PART_MIN_BYTES);
    const choices = { seed, options: { ...options, layout: "parts" as const, sliceBytes } };
    const { plan: parts } = await this.#source.planFor(recipeText, inputs, choices);
    for (const [k, { name, header }] of plan.shards.entries())
      if (parts.shards[k]?.name !== name || parts.shards[k]?.header !== header)
        throw new Error(`in parts shard ${name} is another one`);
    return parts;
  }

  /** Indices into parts.slices: those that hold bytes of slices of the output's plan that are to be computed, or of its header. */
  #partsToCompute(plan: Plan, { shard, slices }: DamagedShard, parts: Plan): readonly number[] {
    const { name = "", dataOffsetBytes: sizeBytes = 0 } = plan.shards[shard] ?? {};
    const isLocated = this.#before.findings.every(({ file, kind }) => file !== name || kind === "slice");
    const header = isLocated ? [] : [{ offsetBytes: 0, sizeBytes }];
    const ranges = [...header, ...slices.flatMap((index) => plan.slices[index] ?? [])];
    const isHit = (part: Slice) =>
      ranges.some(
        (range) =>
          range.offsetBytes < part.offsetBytes + part.sizeBytes &&
          range.offsetBytes + range.sizeBytes > part.offsetBytes,
      );
    return [...parts.slices.entries()].flatMap(([index, part]) => (part.shard === shard && isHit(part) ? [index] : []));
  }

  /** Indices into plan.slices: what verify found damaged; all slices of a shard about which it cannot know. */
  #slicesToCompute(plan: Plan, shard: number, name: string): readonly number[] {
    const findings = this.#before.findings.filter(({ file }) => file === name);
    const isLocated = findings.some(({ kind }) => kind === "slice" || kind === "header" || kind === "size");
    const found = new Set(findings.map(({ slice }) => slice));
    const own = plan.slices.map((_, index) => index).filter((index) => plan.slices[index]?.shard === shard);
    const isKnown = this.#facts.manifest !== undefined && isLocated;
    return isKnown ? own.filter((index) => found.has(plan.slices[index]?.id)) : own;
  }

  async #repairDocuments(origin: Origin, recipeText: string, damaged: ReadonlySet<string>): Promise<void> {
    const { inputs, plan, text } = origin;
    const isShard = new Set(plan.shards.map(({ name }) => name));
    const others = [MANIFEST_NAME, SUMS_NAME, RECIPE_NAME];
    const wanted = [...damaged].filter((name) => !isShard.has(name) && !others.includes(name));
    const definingCheckpoint = inputs[plan.definingInput]?.checkpoint;
    if (wanted.length === 0 || definingCheckpoint === undefined) return;
    const origins = inputs.map(({ checkpoint }) => checkpoint.origin);
    const documents = await outputDocuments(plan, {
      store: this.#store,
      recipeText,
      definingCheckpoint,
      text,
      origins,
    });
    for (const name of wanted) {
      const document = documents.find((candidate) => candidate.name === name);
      if (document === undefined)
        throw notReproduced(name, this.#recorded(name), "nothing: no input has it any more", this.#facts.tool);
      await this.#place(name, document.bytes);
    }
  }

  async #rebuildManifest({ inputs, plan }: Origin): Promise<Manifest> {
    const files: OutputFile[] = [];
    for (const [name, sha256] of this.#facts.sha256s) {
      if (name === MANIFEST_NAME) continue;
      const sizeBytes = (await this.#store.identity(join(this.#out, name)))?.sizeBytes ?? 0;
      files.push({ name, sizeBytes, sha256 });
    }
    const sliceSha256s: string[] = [];
    for (const { shard, offsetBytes, sizeBytes } of plan.slices) {
      const path = join(this.#out, plan.shards[shard]?.name ?? "");
      sliceSha256s.push(...(await hashRanges(this.#store, path, [{ offsetBytes, sizeBytes }])));
    }
    return buildManifest({
      plan,
      planDigest: this.#facts.plan,
      toolVersion: this.#facts.tool,
      sliceSha256s,
      files,
      inputSha256s: this.#facts.inputsHashed ? await hashInputs(this.#store, inputs) : undefined,
      inputSources: this.#facts.sources,
    });
  }

  /** Makes a small file aside and moves it into place, if it is the one that was published. */
  async #place(name: string, bytes: Uint8Array): Promise<void> {
    if (name !== SUMS_NAME && !this.#isRecorded(name, bytes)) {
      throw notReproduced(name, this.#recorded(name), sha256Hex(bytes), this.#facts.tool);
    }
    await this.#target.place(name, bytes);
    this.#tell({ file: name });
  }

  #tell(item: RepairedFile): void {
    this.#repaired.push(item);
    this.#options.onRepaired?.(item);
  }

  #isRecorded(name: string, bytes: Uint8Array): boolean {
    // A manifest that is sound is its own record.
    if (name === MANIFEST_NAME && this.#facts.manifest !== undefined) return true;
    return sha256Hex(bytes) === this.#recorded(name);
  }

  #recorded(name: string): string {
    return this.#facts.sha256s.get(name) ?? "";
  }

  /** Undefined for what is not there or cannot be read: it is damaged, which is why we are here. */
  async #maybeText(name: string): Promise<string | undefined> {
    try {
      return Buffer.from(await readWhole(this.#store, join(this.#out, name), MAX_TEXT_BYTES)).toString("utf8");
    } catch (error) {
      if (error instanceof StorageError) return undefined;
      throw error;
    }
  }
}
