import { parseSeed } from "../merge/math/index.ts";
import type { Json } from "../merge/work/index.ts";
import { ServiceError } from "./errors.ts";

/** What shapes a merge, as the queue keeps it. */
export interface JobOptions {
  /** Of the call that submitted it: repeating the call makes no second job. */
  readonly requestId: string;
  /** Decimal. */
  readonly seed: string;
  readonly sliceBytes: number;
  readonly shardBytes: number;
  readonly allowNonfinite: boolean;
  readonly allowUnknownKeys: boolean;
  readonly allowVocabularyMismatch: boolean;
  readonly cutEmbeddings: boolean;
  readonly overwrite: boolean;
  readonly restart: boolean;
  readonly hashInputs: boolean;
  /** 0 to 1. */
  readonly auditShare: number;
  /** For messages. */
  readonly recipeName: string;
}

export function jsonOfOptions(options: JobOptions): Json {
  return { ...options };
}

/** What a record of the queue holds. Another version may have written it. @throws ServiceError `service/option` */
export function optionsOfJson(value: Json): JobOptions {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw unfit("options", value);
  const fields = value as { readonly [name: string]: Json };
  const text = (name: keyof JobOptions) => {
    const found = fields[name];
    return typeof found === "string" ? found : unfitField(name, found);
  };
  const flag = (name: keyof JobOptions) => {
    const found = fields[name];
    return typeof found === "boolean" ? found : unfitField(name, found);
  };
  /** Of an option that earlier versions did not have; they did `always` what it says, or never. */
  const laterFlag = (name: keyof JobOptions, always: boolean) => (fields[name] === undefined ? always : flag(name));
  const count = (name: keyof JobOptions, most = Number.MAX_SAFE_INTEGER) => {
    const found = fields[name];
    return typeof found === "number" && found >= 0 && found <= most ? found : unfitField(name, found);
  };
  return {
    requestId: text("requestId"),
    seed: seedIn(text("seed")),
    sliceBytes: count("sliceBytes"),
    shardBytes: count("shardBytes"),
    allowNonfinite: flag("allowNonfinite"),
    allowUnknownKeys: flag("allowUnknownKeys"),
    allowVocabularyMismatch: flag("allowVocabularyMismatch"),
    cutEmbeddings: laterFlag("cutEmbeddings", true),
    overwrite: flag("overwrite"),
    restart: flag("restart"),
    hashInputs: flag("hashInputs"),
    auditShare: count("auditShare", 1),
    recipeName: text("recipeName"),
  };
}

function seedIn(text: string): string {
  try {
    parseSeed(text);
    return text;
  } catch {
    return unfitField("seed", text);
  }
}

function unfitField(name: string, value: Json | undefined): never {
  throw unfit(name, value);
}

function unfit(name: string, value: Json | undefined): ServiceError {
  const found = value === undefined ? "missing" : JSON.stringify(value).slice(0, 60);
  return new ServiceError("service/option", `the job's record cannot be used: its ${name} is ${found}`, {
    hint: "Another version of deltaworks wrote it, or something else did: submit the recipe again.",
  });
}
