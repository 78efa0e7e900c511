import { JetStreamApiError } from "@nats-io/jetstream";
import { errors, type NatsConnection } from "@nats-io/transport-node";
import { JournalError } from "./errors.ts";

const FIRST_WAIT_MS = 50;
const WAIT_MAX_MS = 2000;

/** The patience of one call: how long it waits, in all, for a server that does not answer. */
export class Outage {
  readonly #what: string;
  readonly #connection: NatsConnection;
  readonly #budgetMs: number;
  readonly #given: AbortSignal;
  #sinceMs: number | undefined;
  #waitMs = FIRST_WAIT_MS;

  /** `what`: what was to be done, for the message. `given`: aborted when waiting must end now. */
  constructor(what: string, connection: NatsConnection, budgetMs: number, given: AbortSignal) {
    this.#what = what;
    this.#connection = connection;
    this.#budgetMs = budgetMs;
    this.#given = given;
  }

  /**
   * Resolves after a while if `error` may pass by itself.
   * @throws JournalError `journal/unavailable` if not, or if it has lasted too long
   */
  async passing(error: unknown): Promise<void> {
    if (error instanceof JournalError) throw error;
    const now = performance.now();
    this.#sinceMs ??= now;
    const lastedMs = now - this.#sinceMs;
    if (!isPassing(error) || this.#connection.isClosed() || lastedMs >= this.#budgetMs || this.#given.aborted) {
      throw unavailable(this.#what, lastedMs, error);
    }
    await pause(Math.min(this.#waitMs, this.#budgetMs - lastedMs), this.#given);
    this.#waitMs = Math.min(2 * this.#waitMs, WAIT_MAX_MS);
  }
}

/** Whether it may pass by itself: no answer, no leader, nobody there. What the server refused, it refuses again. */
export function isPassing(error: unknown): boolean {
  if (error instanceof JetStreamApiError) return error.status === 503 && !isFull(error);
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof errors.PermissionViolationError) return false;
    if (cause instanceof errors.AuthorizationError) return false;
  }
  return true;
}

/** The server says 503 of a full stream or disk, too. */
function isFull(error: JetStreamApiError): boolean {
  return /maximum|exceeded|resources/i.test(error.message);
}

function pause(ms: number, ended: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      ended.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    ended.addEventListener("abort", done);
  });
}

function unavailable(what: string, lastedMs: number, cause: unknown): JournalError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const lasted = lastedMs < 1000 ? "" : ` for ${Math.round(lastedMs / 1000)} s`;
  return new JournalError("journal/unavailable", `cannot ${what}${lasted}: ${reason}`, {
    hint: hintFor(cause),
    cause,
  });
}

function hintFor(cause: unknown): string {
  if (cause instanceof JetStreamApiError && isFull(cause)) {
    return "The stream or the server's disk is full: purge jobs that have ended, or allow it more bytes.";
  }
  if (!isPassing(cause)) return "deltaworks nats check tells what this user may not do.";
  return "See that nats-server runs and its streams have leaders; what was acknowledged is kept.";
}
