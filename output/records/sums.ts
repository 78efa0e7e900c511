import { sha256Hex } from "../../checkpoint/index.ts";
import { canonicalJson, type PlanOptions } from "../../merge/work/index.ts";
import { PublishError } from "../errors.ts";
import { isSafeName, MANIFEST_NAME, SUMS_NAME } from "./file-names.ts";
import { type InputSources, type Manifest, manifestText, RECORD_FORMAT } from "./manifest.ts";

/** What SHA256SUMS holds: enough to make the manifest anew from the output, the recipe and the inputs. */
export interface Sums {
  readonly tool: string;
  readonly plan: string;
  readonly seed: string;
  readonly options: PlanOptions;
  /** Whether the manifest has hashes of the input files. */
  readonly inputsHashed: boolean;
  /** Where inputs were read; absent where the manifest says it of none. */
  readonly sources?: InputSources | undefined;
  /** SHA-256 by name, all published files but SHA256SUMS. */
  readonly files: ReadonlyMap<string, string>;
}

/** The other record, as the manifest determines it. */
export function sumsOf(manifest: Manifest): Sums {
  const { tool, plan, seed, options, inputs } = manifest;
  const hashes = manifest.files.map(({ name, sha256 }) => [name, sha256] as const);
  const own = [MANIFEST_NAME, sha256Hex(Buffer.from(manifestText(manifest)))] as const;
  const files = new Map([...hashes, own].sort(([a], [b]) => (a < b ? -1 : 1)));
  const inputsHashed = inputs.some((input) => input.files.some((file) => file.sha256 !== undefined));
  const sources = inputs.some(({ source }) => source !== undefined) ? inputs.map(({ source }) => source) : undefined;
  return { tool, plan, seed, options, inputsHashed, sources, files };
}

/** For `sha256sum -c`, which skips lines that begin with "#". The first line guards the others. */
export function sumsText(sums: Sums): string {
  const lines = [
    `# tool ${sums.tool}`,
    `# plan ${sums.plan}`,
    `# seed ${sums.seed}`,
    `# options ${canonicalJson(sums.options)}`,
    `# inputs ${sums.inputsHashed ? "hashed" : "not hashed"}`,
    ...(sums.sources === undefined ? [] : [`# sources ${canonicalJson(sums.sources.map((source) => source ?? null))}`]),
    ...[...sums.files].map(([name, sha256]) => `${sha256}  ${name}`),
    "",
  ].join("\n");
  return `# deltaworks checksums, format ${RECORD_FORMAT}; SHA-256 of the lines below: ${sha256Hex(Buffer.from(lines))}\n${lines}`;
}

/** @throws PublishError `publish/sums` unless every byte is what `sumsText` wrote */
export function parseSums(bytes: Uint8Array): Sums {
  const text = Buffer.from(bytes).toString("utf8");
  const fields = new Map<string, string>();
  const files = new Map<string, string>();
  for (const line of text.split("\n").slice(1)) {
    const [, key, value] = /^# (\w+) (.*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) fields.set(key, value);
    const [, sha256, name] = /^([0-9a-f]{64}) {2}(.+)$/.exec(line) ?? [];
    if (sha256 !== undefined && name !== undefined) files.set(name, sha256);
  }
  const sums: Sums = {
    tool: fields.get("tool") ?? "",
    plan: fields.get("plan") ?? "",
    seed: fields.get("seed") ?? "",
    options: parseOptions(fields.get("options")),
    inputsHashed: fields.get("inputs") === "hashed",
    sources: maybeSources(fields.get("sources")),
    files,
  };
  // Written again it must be the same: that compares the first line's hash, and finds what the parsing above lets pass.
  if (!Buffer.from(sumsText(sums)).equals(bytes)) throw damaged("its first line's hash is not that of the lines below");
  for (const name of files.keys()) if (!isSafeName(name)) throw damaged(`${JSON.stringify(name)} is no file inside`);
  return sums;
}

function maybeSources(text: string | undefined): InputSources | undefined {
  if (text === undefined) return undefined;
  try {
    const parsed: unknown = JSON.parse(text);
    if (Array.isArray(parsed)) return parsed.map((source) => (typeof source === "string" ? source : undefined));
  } catch (cause) {
    throw damaged("its sources are no JSON", cause);
  }
  throw damaged("its sources are no list");
}

function parseOptions(text = ""): PlanOptions {
  let parsed: Partial<PlanOptions> = {};
  try {
    parsed = (JSON.parse(text) ?? {}) as Partial<PlanOptions>;
  } catch (cause) {
    throw damaged("its options are no JSON", cause);
  }
  const { sliceBytes, shardBytes, allowNonfinite } = parsed;
  if (typeof sliceBytes !== "number" || typeof shardBytes !== "number" || typeof allowNonfinite !== "boolean") {
    throw damaged("its options are incomplete");
  }
  return { ...parsed, sliceBytes, shardBytes, allowNonfinite };
}

function damaged(reason: string, cause?: unknown): PublishError {
  return new PublishError("publish/sums", `${SUMS_NAME} is damaged: ${reason}`, {
    hint: "`deltaworks repair` makes it anew from the manifest.",
    cause,
  });
}
