import type { Json } from "../../merge/work/index.ts";
import { type Entry, type JournalRecord, nothingYet, type Sequence } from "./journal.ts";

/**
 * Who may write a job's facts, when several coordinators believe that it is them.
 *
 * A coordinator begins its epoch with a take-over: an entry of the subject `job`, appended by compare-and-set. The
 * sequence of that entry is the number of the epoch. Every other entry says in which epoch it was written.
 * **The rule: an entry counts if its epoch is that of the last take-over before it; else it is void**, as if it had never
 * been appended. So whoever lost its epoch can append to a subject that nobody has touched, and changes nothing.
 *
 * An epoch is told by its number and its holder: a server whose newest entries were lost gives numbers out again.
 * Entries without an epoch count until there is a take-over.
 */
export interface Epoch {
  /** Sequence of the take-over; 0n before the first. */
  readonly number: Sequence;
  /** Unlike that of any other take-over. */
  readonly holder: string;
}

/** The subject of the job itself, and of take-overs. */
export const JOB_SUBJECT = "job";

/** The epoch before the first take-over. */
export const noEpoch: Epoch = { number: nothingYet, holder: "" };

/** `about`: what people may want to know of the holder (host, process, version); no part of the rule. */
export function takeOverEntry(holder: string, about: Json): Entry {
  return { subject: JOB_SUBJECT, body: { state: "take-over", holder, about } };
}

/** The entry as it is appended in an epoch. */
export function stamped({ subject, body }: Entry, epoch: Epoch): Entry {
  return { subject, body: { epoch: stampOf(epoch), body } };
}

/** Attempts of one epoch are numbered above those of all before it: the epoch is in the upper bits. */
export const ATTEMPTS_PER_EPOCH = 2 ** 20;
const EPOCH_MAX = BigInt(Number.MAX_SAFE_INTEGER) / BigInt(ATTEMPTS_PER_EPOCH) - 1n;

/** No unit is lent so often within one epoch. */
const ATTEMPTS_OF_A_UNIT = 2 ** 7;
const OFFSETS = ATTEMPTS_PER_EPOCH / ATTEMPTS_OF_A_UNIT - 1;

/**
 * The number that attempts of the epoch are counted up from. Within an epoch's numbers it begins where its holder's name says: a server
 * whose newest entries were lost gives the same epoch out again, and the attempts of the two must not be taken for each other.
 */
export function attemptBaseOf({ number, holder }: Epoch): number {
  if (number > EPOCH_MAX) throw new Error(`epoch ${number} is beyond ${EPOCH_MAX}: attempts have no numbers left`);
  const offset = Number.parseInt(/^[0-9a-f]{4}/.exec(holder)?.[0] ?? "0", 16) % OFFSETS;
  return Number(number) * ATTEMPTS_PER_EPOCH + offset * ATTEMPTS_OF_A_UNIT;
}

/** Applies the rule to records, which must come in the order of their sequences. */
export class EpochView {
  #current: Epoch = noEpoch;
  #voidCount = 0;

  /** The epoch after the records seen so far. */
  get current(): Epoch {
    return this.#current;
  }

  /** Records that were void. */
  get voidCount(): number {
    return this.#voidCount;
  }

  /** The record as its writer made it, a take-over as it is; undefined for one that is void. */
  see(record: JournalRecord): JournalRecord | undefined {
    const { entry, sequence } = record;
    const holder = maybeHolder(entry);
    if (holder !== undefined) {
      this.#current = { number: sequence, holder };
      return record;
    }
    const stamp = maybeStamp(entry.body);
    if ((stamp?.epoch ?? stampOf(noEpoch)) !== stampOf(this.#current)) {
      this.#voidCount++;
      return undefined;
    }
    return stamp === undefined ? record : { sequence, entry: { subject: entry.subject, body: stamp.body } };
  }
}

/** The holder that a take-over names; undefined for any other entry. */
export function maybeHolder({ subject, body }: Entry): string | undefined {
  if (subject !== JOB_SUBJECT || !isObject(body) || body.state !== "take-over") return undefined;
  return typeof body.holder === "string" ? body.holder : undefined;
}

/** `12-5f0c`; numbers first, so that people who read a journal can compare. */
function stampOf({ number, holder }: Epoch): string {
  return `${number}-${holder}`;
}

/** A body that a coordinator made is never taken for a stamp: in a journal with take-overs every body has one. */
function maybeStamp(body: Json): { readonly epoch: string; readonly body: Json } | undefined {
  if (!isObject(body) || typeof body.epoch !== "string" || body.body === undefined) return undefined;
  return { epoch: body.epoch, body: body.body };
}

function isObject(value: Json): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
