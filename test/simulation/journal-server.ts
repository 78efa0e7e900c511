import type { OpenJournal } from "../../coordinator/job/index.ts";
import {
  type Entry,
  type Journal,
  JournalError,
  type JournalRecord,
  type Sequence,
} from "../../coordinator/journal/index.ts";
import type { Process } from "./process.ts";
import type { World } from "./world.ts";

interface Stored {
  readonly subject: string;
  readonly body: string;
  readonly sequence: bigint;
  /** Of the append that made it: tells one's own from others'. */
  readonly id: number;
}

/** What a record says of the thing that its subject names. */
export interface RecordFacts {
  readonly state?: string;
  readonly attempt?: number;
}

/** As it lies in the journal: a take-over, or what was written in an epoch. */
export interface RecordBody extends RecordFacts {
  readonly holder?: string;
  readonly epoch?: string;
  readonly body?: RecordFacts;
}

/** What a record says if it counts, `holder` having taken over last. Without a line of the program's reading of it. */
export function factsThatCount({ epoch, body }: RecordBody, holder: string): RecordFacts | undefined {
  return epoch?.endsWith(`-${holder}`) === true ? body : undefined;
}

/** A journal as a server keeps it for several coordinators: compare-and-set by a subject's last sequence; it may lose its newest entries. */
export class JournalServer {
  records: Stored[] = [];
  isDown = false;
  /** Told of each record that counts, when it is made. */
  recorded: (subject: string, facts: RecordFacts) => void = () => {};
  /** Since it was started last, or put back to what it had before. */
  #run = 1;
  #nextId = 0;

  newId(): number {
    return this.#nextId++;
  }

  last(subject: string): Stored | undefined {
    return this.records.findLast((record) => record.subject === subject);
  }

  /** The sequence, or undefined: the last one is another. */
  append(subject: string, body: string, after: bigint, id: number): bigint | undefined {
    const last = this.last(subject);
    if (last?.id === id) return last.sequence; // the same append, whose answer got lost
    if ((last?.sequence ?? 0n) !== after) return undefined;
    const sequence = (this.records.at(-1)?.sequence ?? 0n) + 1n;
    this.records.push({ subject, body, sequence, id });
    const facts = factsThatCount(JSON.parse(body), this.#holder());
    if (facts !== undefined) this.recorded(subject, facts);
    return sequence;
  }

  /** Who took over last. */
  #holder(): string {
    for (const { subject, body } of this.records.toReversed()) {
      const { state, holder = "" }: RecordBody = subject === "job" ? JSON.parse(body) : {};
      if (state === "take-over") return holder;
    }
    return "";
  }

  get keeper(): string {
    return `run ${this.#run}`;
  }

  loseTail(count: number, jobsToo: boolean): void {
    this.#run++;
    for (let k = 0; k < count; k++) {
      if (!jobsToo && this.records.at(-1)?.subject === "job") return;
      this.records.pop();
    }
  }
}

/** How often and for how long a coordinator tries to reach the server. */
const RETRY_MS = 60;
const GIVE_UP_MS = 3000;

/** The server as one coordinator reaches it: questions and answers get lost and are sent again. */
export function journalOf(world: World, process: Process): OpenJournal {
  const server = world.journal;
  /** Asks until it is answered. */
  const ask = <T>(question: () => T): Promise<T> =>
    new Promise((resolve, reject) => {
      const begunMs = process.nowMs();
      const attempt = () => {
        let answered = false;
        world.scheduler.after(world.journalDelayMs(process), () => {
          if (server.isDown || world.losesJournalMessage(process)) return;
          const answer = question();
          if (world.losesJournalMessage(process)) return;
          world.scheduler.after(world.journalDelayMs(process), () =>
            process.deliver(() => {
              answered = true;
              resolve(answer);
            }),
          );
        });
        process.after(RETRY_MS, () => {
          if (answered) return;
          if (process.nowMs() - begunMs < GIVE_UP_MS) return attempt();
          reject(new JournalError("journal/unavailable", "the server does not answer", { hint: "Simulated." }));
        });
      };
      attempt();
    });
  const journal: Journal = {
    async append(entry: Entry, after: Sequence): Promise<Sequence> {
      const body = JSON.stringify(entry.body);
      const id = server.newId();
      const sequence = await ask(() => server.append(entry.subject, body, after, id));
      if (sequence === undefined) {
        throw new JournalError("journal/conflict", `another wrote ${entry.subject} first`, { hint: "Simulated." });
      }
      return sequence as Sequence;
    },
    async last(subject: string): Promise<Sequence> {
      return (await ask(() => server.last(subject)?.sequence ?? 0n)) as Sequence;
    },
    async *read(after = 0n as Sequence): AsyncGenerator<JournalRecord> {
      const records = await ask(() => server.records.filter(({ sequence }) => sequence > after));
      for (const { subject, body, sequence } of records) {
        yield { entry: { subject, body: JSON.parse(body) }, sequence: sequence as Sequence };
      }
    },
    async close(): Promise<void> {},
  };
  return Object.assign(journal, { tornBytes: 0, lostRecords: 0, keeper: () => ask(() => server.keeper) });
}
