import type { ServerReadableStream } from "@grpc/grpc-js";
import type { PlainData, Report } from "../../merge/work/index.ts";
import { ReportDecision, type SendSummaryRequest, type SendSummaryResponse } from "../../proto/index.ts";
import { attemptOf, countsOf, DataIntake, malformed, numberOf } from "../../wire/index.ts";
import { Room } from "./room.ts";
import type { ReportAnswer } from "./worker-link.ts";
import type { WorkerPeer } from "./worker-peer.ts";

/** Of summaries that are on their way in, of all workers together; others wait, and their connections with them. */
const AT_ONCE_BYTES = 128 * 1024 * 1024;

type Call = ServerReadableStream<SendSummaryRequest, SendSummaryResponse>;

/**
 * Receives summaries of any size. Reading waits for room, first in the job and then here, so no more lies in memory than has been admitted
 * and been reported.
 */
export class SummaryIntake {
  readonly #room: Room;

  constructor(atOnceBytes = AT_ONCE_BYTES) {
    this.#room = new Room(atOnceBytes);
  }

  /** Resolves when the summary is taken, or is of no use. @throws WireError `wire/malformed` */
  async receive(call: Call, worker: WorkerPeer): Promise<ReportDecision> {
    let [giveBack, reported] = [() => {}, () => {}];
    try {
      const messages = call[Symbol.asyncIterator]() as AsyncIterator<SendSummaryRequest>;
      const first = await messages.next();
      const header = first.done === true ? undefined : first.value.message;
      if (header?.$case !== "header") throw malformed("a summary without its beginning");
      const key = attemptOf(header.value.id);
      const link = worker.links.get(key.job);
      // What will not be taken need not be sent.
      if (link?.isOwn(key) !== true) return ReportDecision.REPORT_DECISION_STALE;
      const structureBytes = numberOf(header.value.structureBytes, "a size");
      const arrayBytes = numberOf(header.value.arrayBytes, "a size");
      reported = await link.roomForSummary(key, structureBytes + arrayBytes);
      if (!link.isOwn(key)) return ReportDecision.REPORT_DECISION_STALE;
      giveBack = await this.#room.take(structureBytes + arrayBytes);
      const summary = await received(messages, new DataIntake(structureBytes, arrayBytes));
      const { unit, attempt } = key;
      const report: Report = { unit, attempt, kind: "survey", summary, counts: countsOf(header.value.counts) };
      const answer = await new Promise<ReportAnswer>((resolve, reject) => {
        link.report(report, { answer: resolve, fail: reject });
      });
      return answer === "accepted" ? ReportDecision.REPORT_DECISION_ACCEPTED : ReportDecision.REPORT_DECISION_STALE;
    } finally {
      giveBack();
      reported();
    }
  }
}

async function received(messages: AsyncIterator<SendSummaryRequest>, data: DataIntake): Promise<PlainData> {
  for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
    const { message } = next.value;
    if (message?.$case !== "chunk") throw malformed("parts of a summary in an order that is unknown here");
    data.write(message.value);
  }
  return data.finish();
}
