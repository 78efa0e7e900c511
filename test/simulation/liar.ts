import type { UnitId, WorkerId } from "../../merge/work/index.ts";
import type { AttachRequest, FailureReport, GrantRequest, Question, SliceReport } from "../../proto/index.ts";
import type { Cluster } from "./cluster.ts";

/** An attempt that somebody was lent. */
export interface LentAttempt {
  readonly unit: UnitId;
  readonly attempt: number;
  readonly worker: WorkerId;
}

type Sent = NonNullable<AttachRequest["message"]>;

/**
 * A worker that does not lie in bytes but in what it says of them: reports of another kind than what was lent, of other attempts, of
 * attempts that others have. It knows what was lent to whom, which is more than any real one does.
 */
export class Liar {
  readonly #cluster: Cluster;
  readonly #name: WorkerId;

  constructor(cluster: Cluster, name: WorkerId) {
    this.#cluster = cluster;
    this.#name = name;
  }

  /** What is sent in the place of a message. Each question is answered by its number, which stays as it was. */
  twist(message: Sent): Sent {
    const { world } = this.#cluster;
    if (message.$case === "question") {
      return { $case: "question", value: { ...message.value, question: this.#question(message.value.question) } };
    }
    if (message.$case === "heartbeat" && world.strikes("lie-owner", 0.3)) {
      const held = this.#others().map(({ unit, attempt }) => ({
        id: this.#id(unit, attempt),
        bytesDone: 0n,
        alive: true,
      }));
      return { $case: "heartbeat", value: { ...message.value, held: [...message.value.held, ...held] } };
    }
    if (message.$case === "handBack" && world.strikes("lie-owner", 0.5)) {
      const ids = this.#others().map(({ unit, attempt }) => this.#id(unit, attempt));
      return { $case: "handBack", value: { ids: [...message.value.ids, ...ids] } };
    }
    return message;
  }

  #question(question: Question["question"]): Question["question"] {
    switch (question?.$case) {
      case "grant":
        return { $case: "grant", value: this.#grant(question.value) };
      case "report":
        return { $case: "report", value: this.#report(question.value) };
      case "failure":
        return { $case: "failure", value: this.#failure(question.value) };
      default:
        return question;
    }
  }

  #report(report: SliceReport): SliceReport {
    const { world } = this.#cluster;
    if (world.strikes("lie-kind", 0.4)) return { ...report, result: this.#otherResult(report) };
    if (world.strikes("lie-attempt", 0.3)) return { ...report, id: this.#otherAttempt(report) };
    if (world.strikes("lie-owner", 0.4)) {
      const other = this.#pick(this.#others());
      if (other !== undefined) {
        return { ...report, id: this.#id(other.unit, other.attempt), result: this.#someHash("sliceSha256") };
      }
    }
    return report;
  }

  #grant(request: GrantRequest): GrantRequest {
    const { world } = this.#cluster;
    // For something that is not written, or not by this worker.
    const kind = world.strikes("lie-kind", 0.2);
    if (!kind && !world.strikes("lie-owner", 0.2)) return request;
    const of = kind ? this.#own().filter(({ unit }) => !unit.startsWith("s0")) : this.#others();
    const other = this.#pick(of);
    return other === undefined ? request : { ...request, id: this.#id(other.unit, other.attempt) };
  }

  #failure(report: FailureReport): FailureReport {
    const other = this.#cluster.world.strikes("lie-owner", 0.5) ? this.#pick(this.#others()) : undefined;
    return other === undefined ? report : { ...report, id: this.#id(other.unit, other.attempt) };
  }

  #otherResult(report: SliceReport): SliceReport["result"] {
    const kinds = ["sliceSha256", "auditSha256", "seal", "summary"].filter((kind) => kind !== report.result?.$case);
    return this.#someHash(this.#pick(kinds) ?? "seal");
  }

  #someHash(kind: string): SliceReport["result"] {
    const value = Buffer.alloc(32, 1 + Math.floor(this.#cluster.world.random() * 250));
    if (kind === "sliceSha256" || kind === "auditSha256") return { $case: kind, value };
    if (kind === "seal") return { $case: kind, value: { sha256: [value] } };
    return { $case: "summary", value: { kind: { $case: "stringValue", value: "nonsense" } } };
  }

  #otherAttempt({ id }: SliceReport): SliceReport["id"] {
    const earlier = this.#cluster.lent.filter(
      ({ unit, attempt }) => unit === id?.unitId && BigInt(attempt) !== id?.attempt,
    );
    const other = this.#pick(earlier);
    const step = this.#cluster.world.random() < 0.5 ? 1n : -1n;
    return id === undefined ? id : { ...id, attempt: other === undefined ? id.attempt + step : BigInt(other.attempt) };
  }

  #others(): readonly LentAttempt[] {
    return this.#cluster.lent.slice(-40).filter(({ worker }) => worker !== this.#name);
  }

  #own(): readonly LentAttempt[] {
    return this.#cluster.lent.slice(-40).filter(({ worker }) => worker === this.#name);
  }

  #pick<T>(from: readonly T[]): T | undefined {
    return from[Math.floor(this.#cluster.world.random() * from.length)];
  }

  #id(unitId: string, attempt: number) {
    return { jobId: "job", unitId, attempt: BigInt(attempt) };
  }
}
