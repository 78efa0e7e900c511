import { ConnectionPool } from "./connection-pool.ts";
import type { Pace } from "./pace.ts";
import { Overdue, type RangeAnswer, type RangeConnection, type RangeQuestion } from "./range-connection.ts";

/** Second connections beside slow ones, at once. */
const RACERS_MAX = 2;

/** One read that is under way. */
interface Attempt {
  readonly answer: Promise<RangeAnswer>;
  /** Nothing is written to its memory from then on. */
  giveUp(): void;
}

/**
 * Reads ranges by connections that are kept. A read that takes much longer than others did is asked for once more, on a new connection
 * beside the first: the bytes of whichever is done first are taken, and the other is given up. The second one reads into memory of its
 * own, of at most two windows at a time.
 */
export class RacedReads {
  readonly #pool: ConnectionPool;
  readonly #racers = new ConnectionPool(RACERS_MAX);
  /** Undefined: reads are not raced. */
  readonly #pace: Pace | undefined;

  constructor(connectionsMax: number, pace: Pace | undefined) {
    this.#pool = new ConnectionPool(connectionsMax);
    this.#pace = pace;
  }

  /** `key`: of connections that may be exchanged for each other. @throws what `RangeConnection.read` throws */
  async read(key: string, make: () => RangeConnection, question: RangeQuestion): Promise<RangeAnswer> {
    const { into } = question;
    let second: (Attempt & { readonly into: Uint8Array }) | undefined;
    let slow: NodeJS.Timeout | undefined;
    let decide = (): void => {};
    const isRaced = new Promise<void>((resolve) => {
      decide = resolve;
    });
    let beganMs = 0;
    const first = this.#attempt(this.#pool, key, make, question, () => {
      beganMs = performance.now();
      const afterMs = this.#pace?.slowAfterMs(into.length);
      if (afterMs === undefined) return;
      // A thread that computed meanwhile finds its timers due before it sees what has arrived.
      slow = setTimeout(() => setImmediate(() => slow !== undefined && decide()), afterMs);
    });
    const race = async (): Promise<RangeAnswer> => {
      await isRaced;
      const copy = new Uint8Array(into.length);
      second = { ...this.#attempt(this.#racers, key, make, { ...question, into: copy }, () => {}, true), into: copy };
      const answer = await second.answer;
      if (!answer.isFilled) throw new Error("the second connection was given no range");
      return answer;
    };
    try {
      const answer = await firstOf(first.answer, race(), () => second !== undefined);
      this.#pace?.note(into.length, performance.now() - beganMs);
      if (second !== undefined && answer.isFrom === "second") {
        first.giveUp();
        into.set(second.into);
      }
      return answer.value;
    } finally {
      clearTimeout(slow);
      slow = undefined;
      second?.giveUp();
    }
  }

  close(): void {
    this.#pool.close();
    this.#racers.close();
  }

  /** A connection that the server closed while it was idle is no failure: that is seen when it is used again, and costs no try. */
  #attempt(
    pool: ConnectionPool,
    key: string,
    make: () => RangeConnection,
    question: RangeQuestion,
    began: () => void,
    fresh = false,
  ): Attempt {
    let isGivenUp = false;
    let used: RangeConnection | undefined;
    let wasIdle = false;
    const ask = async (connection: RangeConnection) => {
      if (isGivenUp) throw new Error("the read was given up");
      used = connection;
      const isReused = connection.served > 0;
      began();
      try {
        return await connection.read(question);
      } catch (error) {
        wasIdle = isReused && !connection.hasAnswered && !(error instanceof Overdue) && !isGivenUp;
        throw error;
      } finally {
        used = undefined;
      }
    };
    const read = async () => {
      try {
        return await pool.use(key, make, ask, { fresh });
      } catch (error) {
        if (!wasIdle) throw error;
        pool.forget(key);
        return pool.use(key, make, ask, { fresh: true });
      }
    };
    return {
      answer: read(),
      giveUp: () => {
        isGivenUp = true;
        used?.destroy();
      },
    };
  }
}

interface Won {
  readonly value: RangeAnswer;
  readonly isFrom: "first" | "second";
}

/** The first that is a range; where neither is one, what became of the first. `hasBegun`: the second one. */
function firstOf(first: Promise<RangeAnswer>, second: Promise<RangeAnswer>, hasBegun: () => boolean): Promise<Won> {
  return new Promise((resolve, reject) => {
    second.then(
      (value) => resolve({ value, isFrom: "second" }),
      () => {},
    );
    first.then(
      (value) => resolve({ value, isFrom: "first" }),
      (error: unknown) => {
        if (hasBegun()) second.catch(() => reject(error));
        else reject(error);
      },
    );
  });
}
