import { coordinatorDefaults } from "../../options/index.ts";
import { NatsError } from "./errors.ts";

/** What the streams and subjects of one installation are called; several may share an account. */
export interface NatsNames {
  readonly prefix: string;
  readonly journalStream: string;
  readonly jobsStream: string;
  readonly recordsStream: string;
  /** Replies come here: a prefix of our own, so that nobody else's permissions reach them. */
  readonly inboxPrefix: string;
}

/** @throws NatsError `nats/option` */
export function natsNames(prefix: string = coordinatorDefaults.natsPrefix): NatsNames {
  if (!/^[a-z][a-z0-9_-]{0,31}$/.test(prefix)) {
    throw new NatsError("nats/option", `${JSON.stringify(prefix)} is no prefix for subjects`, {
      hint: "Use 1 to 32 small letters, digits, '_' or '-', a letter first.",
    });
  }
  const streams = prefix.toUpperCase();
  return {
    prefix,
    journalStream: `${streams}_JOURNAL`,
    jobsStream: `${streams}_JOBS`,
    recordsStream: `${streams}_RECORDS`,
    inboxPrefix: `_INBOX_${prefix}`,
  };
}

/** Any text as one token of a subject, and back: other characters than A-Z a-z 0-9 _ - become `=` and two hex digits a byte. */
export function tokenOf(text: string): string {
  if (text === "") return "=";
  return Buffer.from(text)
    .toString("latin1")
    .replace(/[^A-Za-z0-9_-]/g, (c) => `=${c.charCodeAt(0).toString(16).padStart(2, "0").toUpperCase()}`);
}

export function textOf(token: string): string {
  if (token === "=") return "";
  const bytes = token.replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString();
}
