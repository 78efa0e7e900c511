import type { Failure } from "../../merge/work/index.ts";
import type {
  Answer,
  FailureReport,
  GrantDecision,
  GrantRequest,
  Question,
  ReportDecision,
  SliceReport,
} from "../../proto/index.ts";
import {
  CONTROL_MESSAGE_MAX_BYTES,
  encodedRequest,
  failureOf,
  malformed,
  type Timers,
  tooLarge,
} from "../../wire/index.ts";
import { WorkerError } from "../index.ts";

/** Every question ends, also where nobody answers. Reports wait for the journal, and for results to be fetched. */
const DEADLINES_MS = { grant: 20_000, report: 120_000, failure: 20_000 } as const;

export interface QuestionsOptions {
  /** Sends an encoded message, in some milliseconds. False: there is no session. */
  gather(message: Uint8Array): boolean;
  readonly timers: Timers;
  /** In the place of all deadlines. */
  readonly deadlineMs?: number | undefined;
  /** Most bytes of a report. */
  readonly reportBytesMax?: number | undefined;
}

/** The coordinator's word that a question has no other answer. */
export class NoAnswer extends Error {
  readonly code: string;
  readonly hint: string;
  readonly retryable: boolean;

  constructor({ code, message, hint, retryable }: Failure) {
    super(message);
    this.code = code;
    this.hint = hint;
    this.retryable = retryable;
  }
}

type Asked = NonNullable<Question["question"]>;

interface Waiting {
  readonly untilMs: number;
  readonly resolve: (answer: NonNullable<Answer["answer"]>) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * What a worker asks and reports on the stream of its session, and who waits for which answer. A question ends with its session: it may or
 * may not have been heard, and is to be repeated on the next. Repeating does no harm.
 */
export class Questions {
  readonly #options: QuestionsOptions;
  /** In the order of asking. */
  readonly #waiting = new Map<number, Waiting>();
  /** Sessions do not begin anew: an answer to a question that has ended is nobody's. */
  #lastNumber = 0;
  #stopTimer: (() => void) | undefined;

  constructor(options: QuestionsOptions) {
    this.#options = options;
  }

  /** @throws WorkerError `worker/unreachable`: not answered; NoAnswer; WireError `wire/too-large` */
  async requestGrant(request: GrantRequest): Promise<GrantDecision> {
    const answer = await this.#ask({ $case: "grant", value: request });
    if (answer.$case !== "grant") throw malformed(`an answer to a report, where a grant was asked for`);
    return answer.value;
  }

  reportSlice(report: SliceReport): Promise<ReportDecision> {
    return this.#report({ $case: "report", value: report });
  }

  reportFailure(report: FailureReport): Promise<ReportDecision> {
    return this.#report({ $case: "failure", value: report });
  }

  /** To a question that nobody waits for any more: nothing. */
  answered({ number, answer }: Answer): void {
    const waiting = this.#waiting.get(number);
    if (waiting === undefined) return;
    this.#waiting.delete(number);
    if (answer === undefined) waiting.reject(malformed("an answer of a kind that is unknown here"));
    else if (answer.$case === "failure") waiting.reject(new NoAnswer(failureOf(answer.value)));
    else waiting.resolve(answer);
  }

  /** The session is over. */
  disconnected(): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    for (const { reject } of waiting) reject(unanswered("the connection has ended before the answer came"));
  }

  async #report(asked: Asked): Promise<ReportDecision> {
    const answer = await this.#ask(asked);
    if (answer.$case !== "report") throw malformed(`an answer to a question for a grant, where something was reported`);
    return answer.value;
  }

  #ask(question: Asked): Promise<NonNullable<Answer["answer"]>> {
    const { gather, timers, deadlineMs = DEADLINES_MS[question.$case] } = this.#options;
    const { reportBytesMax: bytesMax = CONTROL_MESSAGE_MAX_BYTES } = this.#options;
    return new Promise((resolve, reject) => {
      this.#lastNumber = (this.#lastNumber + 1) >>> 0;
      const number = this.#lastNumber;
      const message = encodedRequest({ $case: "question", value: { number, question } });
      if (question.$case === "report" && message.length > bytesMax)
        return reject(tooLarge(`a report of ${message.length} bytes, more than ${bytesMax}`));
      if (!gather(message)) return reject(unanswered("there is no connection"));
      this.#waiting.set(number, { untilMs: timers.nowMs() + deadlineMs, resolve, reject });
      this.#stopTimer ??= timers.after(deadlineMs, () => this.#look());
    });
  }

  /** Ends what has waited long enough. */
  #look(): void {
    const { timers } = this.#options;
    const nowMs = timers.nowMs();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const [number, { untilMs, reject }] of [...this.#waiting]) {
      if (untilMs > nowMs) nextMs = Math.min(nextMs, untilMs);
      else {
        this.#waiting.delete(number);
        reject(unanswered("the answer has not come in time"));
      }
    }
    this.#stopTimer = this.#waiting.size === 0 ? undefined : timers.after(nextMs - nowMs, () => this.#look());
  }
}

function unanswered(why: string): WorkerError {
  return new WorkerError("worker/unreachable", `the coordinator did not answer: ${why}`, {
    hint: "It is said again by itself; look whether the coordinator runs, and at the network in between.",
    retryable: true,
  });
}
