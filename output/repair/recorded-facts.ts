import type { PlanOptions } from "../../merge/work/index.ts";
import type { Place, Source } from "../../storage/index.ts";
import { PublishError } from "../errors.ts";
import type { InputSources, Manifest } from "../records/manifest.ts";
import { readRecords } from "../records/records.ts";

/** What a plan takes besides recipe and inputs. */
export interface RepairChoices {
  readonly seed: string;
  readonly options: PlanOptions;
}

/** What the sound one of the two records says. */
export interface Facts {
  readonly tool: string;
  readonly plan: string;
  readonly choices: RepairChoices;
  readonly inputsHashed: boolean;
  /** Where inputs were read, in the plan's order, as far as the record says. */
  readonly sources: InputSources;
  readonly sha256s: ReadonlyMap<string, string>;
  readonly manifest: Manifest | undefined;
}

/** @throws PublishError `publish/unrecoverable` where neither record is sound */
export async function recordedFacts(store: Source, out: Place): Promise<Facts> {
  const { manifest, sums, faults } = await readRecords(store, out);
  if (manifest !== undefined) {
    const { tool, plan, seed, options, files, inputs } = manifest;
    const sha256s = new Map(files.map(({ name, sha256 }) => [name, sha256]));
    return {
      tool,
      plan,
      choices: { seed, options },
      inputsHashed: false,
      sources: inputs.map(({ source }) => source),
      sha256s,
      manifest,
    };
  }
  if (sums !== undefined) {
    const { tool, plan, seed, options, inputsHashed, sources = [], files } = sums;
    return { tool, plan, choices: { seed, options }, inputsHashed, sources, sha256s: files, manifest };
  }
  const reasons = faults.map(({ file, message }) => `${file}: ${message}`).join("; ");
  throw new PublishError("publish/unrecoverable", `${out} has lost both its records (${reasons})`, {
    hint: "Nothing says any more what its bytes were. Merge again with --overwrite, or into another directory.",
  });
}
