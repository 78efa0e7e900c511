import type { Failure, InputFile, Json, WorkerId } from "../../merge/work/index.ts";
import { fileVersion, placeOf } from "../../storage/index.ts";
import type { Vote } from "../core/index.ts";
import { badRecord } from "./journal-data.ts";

/** A published file. */
export interface PublishedFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** The fields of one record, or of an object in it, each read as what it must be. @throws JobError `coordinator/bad-record` */
export class RecordFields {
  readonly #where: string;
  readonly #fields: Readonly<Record<string, Json>>;

  /** `where`: the record's subject, and the place in it. */
  constructor(value: Json | undefined, where: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw badRecord(where, `${shown(value)} is no object`);
    this.#where = where;
    this.#fields = value as Readonly<Record<string, Json>>;
  }

  value(name: string): Json | undefined {
    return this.#fields[name];
  }

  has(name: string): boolean {
    return this.#fields[name] !== undefined;
  }

  text(name: string): string {
    const value = this.#fields[name];
    if (typeof value !== "string") throw this.#wrong(name, "a text");
    return value;
  }

  /** A whole number from 0 on. */
  count(name: string): number {
    const value = this.#fields[name];
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw this.#wrong(name, "a count");
    return value;
  }

  flag(name: string): boolean {
    const value = this.#fields[name];
    if (typeof value !== "boolean") throw this.#wrong(name, "true or false");
    return value;
  }

  /** A whole number too large for JSON, in decimal digits. */
  bigint(name: string): bigint {
    const value = this.#fields[name];
    if (typeof value !== "string" || !/^-?[0-9]{1,30}$/.test(value)) throw this.#wrong(name, "a whole number as text");
    return BigInt(value);
  }

  object(name: string): RecordFields {
    return new RecordFields(this.#fields[name], `${this.#where}, ${name}`);
  }

  list(name: string): readonly Json[] {
    const value = this.#fields[name];
    if (!Array.isArray(value)) throw this.#wrong(name, "a list");
    return value;
  }

  objects(name: string): readonly RecordFields[] {
    return this.list(name).map((value, k) => new RecordFields(value, `${this.#where}, ${name}[${k}]`));
  }

  texts(name: string): readonly string[] {
    return this.list(name).map((value) => {
      if (typeof value !== "string") throw this.#wrong(name, "a list of texts");
      return value;
    });
  }

  #wrong(name: string, expected: string) {
    return badRecord(this.#where, `${name} is ${shown(this.#fields[name])}, not ${expected}`);
  }
}

export function failureIn(fields: RecordFields): Failure {
  return {
    code: fields.text("code"),
    message: fields.text("message"),
    hint: fields.text("hint"),
    retryable: fields.flag("retryable"),
  };
}

export function voteIn(fields: RecordFields): Vote {
  return {
    attempt: fields.count("attempt"),
    worker: fields.text("worker") as WorkerId,
    sha256: fields.text("sha256"),
    ...(fields.has("local") && fields.flag("local") ? { local: true } : {}),
  };
}

export function publishedFileIn(fields: RecordFields): PublishedFile {
  return { name: fields.text("name"), sizeBytes: fields.count("sizeBytes"), sha256: fields.text("sha256") };
}

export function inputFileIn(fields: RecordFields): InputFile {
  return {
    path: placeOf(fields.text("path")),
    sizeBytes: fields.count("sizeBytes"),
    // Journals of 0.1.0 have what a file's version was made of.
    version: fields.has("version")
      ? fields.text("version")
      : fileVersion({ inode: fields.bigint("inode"), mtimeNs: fields.bigint("mtimeNs") }),
  };
}

function shown(value: Json | undefined): string {
  return value === undefined ? "missing" : JSON.stringify(value).slice(0, 80);
}
