import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import type { UnitId } from "../../../merge/work/index.ts";
import { type Answer, AttachRequest, GrantDecision, type Question, ReportDecision } from "../../../proto/index.ts";
import { messageOfAttempt, messageOfFailed, messageOfReport } from "../../../wire/index.ts";
import { Questions } from "../../../worker/link/questions.ts";
import { ToldClock } from "../../support/told-clock.ts";

const unit = "s000000" as UnitId;
const id = messageOfAttempt({ job: "j", unit, attempt: 1 });
const grant = { id, sha256: Buffer.alloc(32) };
const counts = { bytesRead: 0, bytesWritten: 0, tensorsCut: 0 };
const report = (warning = "") =>
  messageOfReport("j", { unit, attempt: 1, kind: "slice", sha256: "ab".repeat(32), warnings: [warning], counts });
const failure = { code: "storage/io", message: "no", hint: "", retryable: true };

function open({ reportBytesMax }: { reportBytesMax?: number } = {}) {
  const asked: Question[] = [];
  const clock = new ToldClock();
  const rig = { asked, clock, isThere: true };
  const gather = (bytes: Uint8Array) => {
    const { message } = AttachRequest.decode(bytes);
    if (rig.isThere && message?.$case === "question") asked.push(message.value);
    return rig.isThere;
  };
  const questions = new Questions({ gather, timers: clock, reportBytesMax });
  const answer = (number: number, of: Answer["answer"]) => questions.answered({ number, answer: of });
  /** How a question ended, if it has. */
  const outcome = async (of: Promise<unknown>) => {
    let ended: unknown = "open";
    const end = (by: unknown) => {
      ended = by;
    };
    of.then(end, end);
    await turn();
    return ended;
  };
  return { ...rig, rig, questions, answer, outcome };
}
const granted = { $case: "grant", value: GrantDecision.GRANT_DECISION_GRANTED } as const;
const accepted = { $case: "report", value: ReportDecision.REPORT_DECISION_ACCEPTED } as const;

test("each has its own answer, whichever comes first", async () => {
  const { asked, questions, answer } = open();
  const all = [
    questions.requestGrant(grant),
    questions.reportSlice(report()),
    questions.reportFailure(messageOfFailed("j", { unit, attempt: 1, kind: "failed", failure })),
  ];
  expect(asked.map(({ question }) => question?.$case)).toEqual(["grant", "report", "failure"]);
  const [first, second, third] = asked.map(({ number }) => number) as [number, number, number];
  answer(third, { $case: "report", value: ReportDecision.REPORT_DECISION_STALE });
  answer(second, accepted);
  answer(first, granted);
  expect(await Promise.all(all)).toEqual([
    GrantDecision.GRANT_DECISION_GRANTED,
    ReportDecision.REPORT_DECISION_ACCEPTED,
    ReportDecision.REPORT_DECISION_STALE,
  ]);
});

test("with the session all end and may be repeated; an answer to one of them is not taken for one to the next", async () => {
  const { asked, questions, answer, outcome, clock } = open();
  const before = questions.requestGrant(grant);
  questions.disconnected();
  expect(await outcome(before)).toMatchObject({ code: "worker/unreachable", retryable: true });
  const next = questions.requestGrant(grant);
  answer(asked[0]!.number, granted);
  expect(await outcome(next)).toBe("open");
  answer(asked[1]!.number, granted);
  expect(await outcome(next)).toBe(GrantDecision.GRANT_DECISION_GRANTED);
  await clock.pass(1_000_000);
  expect(clock.waiting).toBe(0);
});

test("without a session nothing is asked", async () => {
  const { rig, questions, outcome } = open();
  rig.isThere = false;
  expect(await outcome(questions.reportSlice(report()))).toMatchObject({ code: "worker/unreachable" });
});

test("one that is not answered ends, each at its time; what comes then is nobody's", async () => {
  const { asked, questions, answer, outcome, clock } = open();
  const [early, slow] = [questions.requestGrant(grant), questions.reportSlice(report())];
  await clock.pass(10_000);
  const late = questions.requestGrant(grant);
  for (const one of [early, late]) one.catch(() => {});
  await clock.pass(20_000);
  expect(await outcome(early)).toMatchObject({ code: "worker/unreachable", retryable: true });
  expect([await outcome(slow), await outcome(late)]).toEqual(["open", "open"]);
  answer(asked[0]!.number, granted);
  await clock.pass(30_000);
  expect(await outcome(late)).toMatchObject({ code: "worker/unreachable" });
  answer(asked[1]!.number, accepted);
  expect(await outcome(slow)).toBe(ReportDecision.REPORT_DECISION_ACCEPTED);
});

test.each([true, false])(
  "the coordinator's word that there is no other answer is an error (retryable: %s)",
  async (retryable) => {
    const { asked, questions, answer, outcome } = open();
    const waiting = questions.requestGrant(grant);
    answer(asked[0]!.number, { $case: "failure", value: { ...failure, retryable } });
    expect(await outcome(waiting)).toMatchObject({ code: "storage/io", message: "no", retryable });
  },
);

test("an answer of another kind is none that an end of ours gives", async () => {
  const { asked, questions, answer, outcome } = open();
  const [grants, reports] = [questions.requestGrant(grant), questions.reportSlice(report())];
  for (const one of [grants, reports]) one.catch(() => {});
  answer(asked[0]!.number, accepted);
  answer(asked[1]!.number, granted);
  expect(await outcome(grants)).toMatchObject({ code: "wire/malformed" });
  expect(await outcome(reports)).toMatchObject({ code: "wire/malformed" });
});

test("a report that is larger than any message is not sent: the session would end with it, each time", async () => {
  const { asked, questions, outcome } = open({ reportBytesMax: 1000 });
  expect(await outcome(questions.reportSlice(report("x".repeat(1000))))).toMatchObject({
    code: "wire/too-large",
    retryable: false,
  });
  expect(asked).toEqual([]);
  expect(await outcome(questions.reportSlice(report("x".repeat(800))))).toBe("open");
});
