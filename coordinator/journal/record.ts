import { hash } from "node:crypto";
import type { Json } from "../../merge/work/index.ts";
import { JournalError } from "./errors.ts";
import type { Entry } from "./journal.ts";

/**
 * The lines of a journal file: checksum, space, JSON text, newline. The checksum is the first 16 hexadecimal digits of
 * the SHA-256 of the text's bytes. The first line is the header; the others are records, numbered from 1.
 */
const FORMAT = "deltaworks journal";
/** 2: entries say in which epoch they were written (epoch.ts); what knows only 1 would misread them. */
const FORMAT_VERSION = 2;
/** Longest line that is written or read: a verdict for a tensor of a million rows has room. */
export const MAX_LINE_BYTES = 64 * 2 ** 20;

const CHECKSUM_DIGITS = 16;
const SPACE = 0x20;
const NEWLINE = 0x0a;

export interface FileRecord {
  readonly sequence: number;
  /**
   * The last sequence that was durable when this record was written: that of the record before its group.
   * A record that can be read thereby proves which damage is older than any crash.
   */
  readonly durable: number;
  readonly entry: Entry;
}

export const headerLine: Buffer = Buffer.from(lineOf(JSON.stringify({ format: FORMAT, version: FORMAT_VERSION })));

/** `entryText`: as `entryTextOf` gives it. */
export function recordLine(sequence: number, durable: number, entryText: string): string {
  return lineOf(`{"sequence":${sequence},"durable":${durable},${entryText}}`);
}

/** The part of a record's text that is known before its place is. */
export function entryTextOf(entry: Entry): string {
  return `"subject":${JSON.stringify(entry.subject)},"body":${JSON.stringify(entry.body)}`;
}

/** The record in a line, newline included; undefined for a damaged line. */
export function maybeRecord(line: Buffer): FileRecord | undefined {
  const value = maybeValue(line);
  if (!isObject(value)) return undefined;
  const { sequence, durable, subject, body } = value;
  if (typeof sequence !== "number" || typeof durable !== "number") return undefined;
  if (typeof subject !== "string" || body === undefined) return undefined;
  return { sequence, durable, entry: { subject, body } };
}

/** @throws JournalError `journal/corrupt`, `journal/other-version` */
export function checkHeader(line: Buffer, path: string): void {
  const header = maybeValue(line);
  if (!isObject(header) || header.format !== FORMAT) {
    throw new JournalError("journal/corrupt", `${path}: its first line is not the header of a journal`, {
      hint: "This is another kind of file, or its disk is damaged. --restart begins anew without it.",
    });
  }
  if (header.version !== FORMAT_VERSION) {
    const found = JSON.stringify(header.version);
    throw new JournalError("journal/other-version", `${path} has format version ${found}, not ${FORMAT_VERSION}`, {
      hint: "Finish this merge with the version of deltaworks that began it, or begin anew with --restart.",
    });
  }
}

function lineOf(text: string): string {
  return `${checksumOf(text)} ${text}\n`;
}

function checksumOf(text: string | Buffer): string {
  return hash("sha256", text, "hex").slice(0, CHECKSUM_DIGITS);
}

function maybeValue(line: Buffer): Json | undefined {
  if (line[CHECKSUM_DIGITS] !== SPACE || line.at(-1) !== NEWLINE) return undefined;
  const text = line.subarray(CHECKSUM_DIGITS + 1, -1);
  if (line.toString("latin1", 0, CHECKSUM_DIGITS) !== checksumOf(text)) return undefined;
  try {
    return JSON.parse(text.toString("utf8")) as Json;
  } catch {
    return undefined; // checksums guard against accidents, not against those who compute one for other text
  }
}

function isObject(value: Json | undefined): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
