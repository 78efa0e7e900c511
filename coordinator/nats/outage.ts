import { JetStreamApiError } from "@nats-io/jetstream";
import { errors, type NatsConnection } from "@nats-io/transport-node";
import { CodedError } from "../../errors/index.ts";

const FIRST_WAIT_MS = 50;
const WAIT_MAX_MS = 2000;
/** The server's number for "no suitable peers for placement". It says 400, yet a leader so new has not heard from all yet. */
const NO_PEERS = 10_005;

export interface OutageOptions {
  /** What was to be done, for the message: "append to job". */
  readonly what: string;
  readonly connection: NatsConnection;
  /** How long it may last. */
  readonly budgetMs: number;
  /** Aborted when waiting must end now. */
  readonly given?: AbortSignal;
  /** The room's own error, that tells of a failure which will not pass, or did not. */
  readonly error: (message: string, options: { readonly hint: string; readonly cause: unknown }) => Error;
}

/** The patience of one call: how long it waits, in all, for a server that does not answer. */
export class Outage {
  readonly #options: OutageOptions;
  #sinceMs: number | undefined;
  #waitMs = FIRST_WAIT_MS;

  constructor(options: OutageOptions) {
    this.#options = options;
  }

  /**
   * Resolves after a while if `error` may pass by itself.
   * @throws the room's own error if not, or if it has lasted too long
   */
  async passing(error: unknown): Promise<void> {
    if (error instanceof CodedError) throw error; // what we found wrong ourselves
    const { what, connection, budgetMs, given } = this.#options;
    const now = performance.now();
    this.#sinceMs ??= now;
    const lastedMs = now - this.#sinceMs;
    if (!isPassing(error) || connection.isClosed() || lastedMs >= budgetMs || given?.aborted === true) {
      const reason = error instanceof Error ? error.message : String(error);
      const lasted = lastedMs < 1000 ? "" : ` for ${Math.round(lastedMs / 1000)} s`;
      throw this.#options.error(`cannot ${what}${lasted}: ${reason}`, { hint: hintFor(error), cause: error });
    }
    await pause(Math.min(this.#waitMs, budgetMs - lastedMs), given);
    this.#waitMs = Math.min(2 * this.#waitMs, WAIT_MAX_MS);
  }
}

/** Whether it may pass by itself: no answer, no leader, nobody there. What the server refused, it refuses again. */
function isPassing(error: unknown): boolean {
  if (error instanceof TypeError || error instanceof ReferenceError) return false; // a fault in the program
  if (error instanceof JetStreamApiError) return (error.status === 503 || error.code === NO_PEERS) && !isFull(error);
  return !isDenied(error);
}

/** Whether the server does not let this user do it. */
export function isDenied(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof errors.PermissionViolationError || cause instanceof errors.AuthorizationError) return true;
  }
  return false;
}

/** The server says the same of a full stream or disk, too. */
function isFull(error: JetStreamApiError): boolean {
  return /maximum|exceeded|resources|storage/i.test(error.message);
}

function pause(ms: number, ended: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      ended?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    ended?.addEventListener("abort", done);
  });
}

function hintFor(cause: unknown): string {
  if (cause instanceof JetStreamApiError && isFull(cause)) {
    return "The stream or the server's disk is full: purge jobs that have ended, or allow it more bytes.";
  }
  if (!isPassing(cause)) return "deltaworks nats check tells what this user may not do.";
  return "See that nats-server runs and its streams have leaders; what was acknowledged is kept.";
}
