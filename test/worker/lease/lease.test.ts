import { describe, expect, test } from "vitest";
import type { AttemptKey, UnitId } from "../../../merge/work/index.ts";
import {
  heldKeys,
  initialLeases,
  type LeaseEvent,
  mayBeginIo,
  reduceLeases,
  writingKeys,
} from "../../../worker/lease/index.ts";

const LEASE = 1000;
const IO = 200;
const RULES = { leaseMs: LEASE, ioTimeoutMs: IO, answerMs: 300, laterMs: 50 };
const A: AttemptKey = { job: "j", unit: "s1" as UnitId, attempt: 1 };
const B: AttemptKey = { job: "j", unit: "s2" as UnitId, attempt: 7 };

type Loose<T extends LeaseEvent = LeaseEvent> = T extends LeaseEvent ? Omit<T, "nowMs"> : never;

class Leases {
  readonly state = initialLeases(RULES);
  nowMs = 0;

  on(event: Loose) {
    return reduceLeases(this.state, { nowMs: this.nowMs, ...event } as LeaseEvent);
  }

  at(nowMs: number) {
    this.nowMs = nowMs;
    return this.on({ type: "time-passed" });
  }

  mayBegin(key = A): boolean {
    return mayBeginIo(this.state, key, this.nowMs);
  }
}

/** A, computed and granted by a question sent at 0 and answered at `answeredMs`. */
function granted(answeredMs = 0): Leases {
  const leases = new Leases();
  leases.on({ type: "link-restored", dropped: [] });
  leases.on({ type: "assigned", key: A });
  leases.on({ type: "computed", key: A, sha256: "x" });
  leases.nowMs = answeredMs;
  leases.on({ type: "grant-answered", key: A, answer: "granted", askedMs: 0 });
  return leases;
}

describe("a lease", () => {
  test("is computed once, though its assignment comes twice", () => {
    const leases = new Leases();
    expect(leases.on({ type: "assigned", key: A })).toEqual([{ type: "compute", key: A }]);
    expect(leases.on({ type: "assigned", key: A })).toEqual([]);
  });

  test("asks with its hash before a byte is written, and reports when all are synced", () => {
    const leases = new Leases();
    leases.on({ type: "link-restored", dropped: [] });
    leases.on({ type: "assigned", key: A });
    expect(leases.on({ type: "computed", key: A, sha256: "x" })).toEqual([{ type: "ask-grant", key: A, sha256: "x" }]);
    expect(leases.mayBegin()).toBe(false);
    expect(leases.on({ type: "grant-answered", key: A, answer: "granted", askedMs: 0 })).toEqual([
      { type: "write", key: A },
    ]);
    expect(leases.mayBegin()).toBe(true);
    expect(leases.on({ type: "written", key: A })).toEqual([{ type: "report", key: A }]);
    expect(leases.mayBegin()).toBe(false);
    expect(leases.on({ type: "report-answered", key: A, answer: "accepted" })).toEqual([{ type: "drop", key: A }]);
    expect(heldKeys(leases.state)).toEqual([]);
  });

  test("of a survey is reported without a grant", () => {
    const leases = new Leases();
    leases.on({ type: "link-restored", dropped: [] });
    leases.on({ type: "assigned", key: A });
    expect(leases.on({ type: "finished", key: A })).toEqual([{ type: "report", key: A }]);
  });

  test("that is refused its grant is dropped; one that must wait asks again", () => {
    const leases = granted();
    leases.on({ type: "assigned", key: B });
    leases.on({ type: "computed", key: B, sha256: "y" });
    expect(leases.on({ type: "grant-answered", key: B, answer: "later", askedMs: 0 })).toEqual([]);
    expect(leases.at(49)).toEqual([]);
    expect(leases.at(50)).toEqual([{ type: "ask-grant", key: B, sha256: "y" }]);
    expect(leases.on({ type: "grant-answered", key: B, answer: "refused", askedMs: 50 })).toEqual([
      { type: "drop", key: B },
    ]);
  });
});

describe("the end of a lease", () => {
  test("counts from the question, not from its answer", () => {
    const leases = granted(LEASE - IO);
    expect(leases.mayBegin()).toBe(true);
    leases.nowMs++;
    expect(leases.mayBegin()).toBe(false);
  });

  test("a grant that comes when there is no time left is asked for again, and nothing is written", () => {
    const leases = new Leases();
    leases.on({ type: "link-restored", dropped: [] });
    leases.on({ type: "assigned", key: A });
    leases.on({ type: "computed", key: A, sha256: "x" });
    leases.nowMs = LEASE - IO + 1;
    const effects = leases.on({ type: "grant-answered", key: A, answer: "granted", askedMs: 0 });
    expect(effects.map(({ type }) => type)).toEqual(["fence", "ask-grant"]);
  });

  test("an answer to an earlier question gives no more than that question's lease", () => {
    const leases = granted();
    leases.at(LEASE - IO + 1); // fenced, and asked again
    const effects = leases.on({ type: "grant-answered", key: A, answer: "granted", askedMs: 0 });
    expect(effects.map(({ type }) => type)).not.toContain("write");
    expect(leases.mayBegin()).toBe(false);
  });

  test("a heartbeat renews from when it was sent, and only what its answer says", () => {
    const leases = granted();
    leases.nowMs = 700;
    leases.on({ type: "heartbeat-answered", sentMs: 400, renewed: [B], dropped: [] });
    expect(leases.mayBegin()).toBe(true);
    leases.on({ type: "heartbeat-answered", sentMs: 400, renewed: [A], dropped: [] });
    leases.nowMs = 400 + LEASE - IO;
    expect(leases.mayBegin()).toBe(true);
    leases.nowMs++;
    expect(leases.mayBegin()).toBe(false);
  });

  test("a write that was given up before it is begun again by a new grant, though the lease was renewed meanwhile", () => {
    const leases = granted();
    leases.nowMs = LEASE - IO + 1;
    expect(leases.mayBegin()).toBe(false);
    // The heartbeat's answer comes before anything else that would see it.
    leases.on({ type: "heartbeat-answered", sentMs: LEASE - IO, renewed: [A], dropped: [] });
    expect(leases.mayBegin()).toBe(true);
    expect(leases.on({ type: "write-stopped", key: A })).toMatchObject([{ type: "ask-grant", key: A }]);
    const askedMs = leases.nowMs;
    expect(leases.on({ type: "grant-answered", key: A, answer: "granted", askedMs })).toEqual([
      { type: "write", key: A },
    ]);
  });

  test("is fenced one I/O timeout before it, and asks for a new one", () => {
    const leases = granted();
    expect(leases.at(LEASE - IO)).toEqual([]);
    expect(leases.at(LEASE - IO + 1)).toEqual([
      { type: "fence", key: A },
      { type: "ask-grant", key: A, sha256: "x" },
    ]);
    expect(leases.on({ type: "grant-answered", key: A, answer: "granted", askedMs: leases.nowMs })).toEqual([
      { type: "write", key: A },
    ]);
  });

  test("during an I/O call ends the process; a call that ends in time does not", () => {
    const leases = granted();
    leases.nowMs = LEASE - IO;
    leases.on({ type: "io-began", key: A });
    expect(leases.at(LEASE - 1)).toEqual([]);
    expect(leases.at(LEASE)).toEqual([{ type: "exit", key: A, sinceMs: LEASE - IO }]);
    expect(leases.at(LEASE + 1)).toEqual([]);
    const inTime = granted();
    inTime.nowMs = LEASE - IO;
    inTime.on({ type: "io-began", key: A });
    inTime.nowMs = LEASE - 1;
    inTime.on({ type: "io-ended", key: A });
    expect(inTime.at(LEASE).map(({ type }) => type)).not.toContain("exit");
  });

  test("a process that was stopped past it ends as soon as anything comes, before anything else is done", () => {
    const leases = granted();
    leases.on({ type: "io-began", key: A });
    leases.nowMs = 5 * LEASE;
    expect(leases.on({ type: "assigned", key: B })).toEqual([{ type: "exit", key: A, sinceMs: 0 }]);
    const quiet = granted();
    quiet.nowMs = 5 * LEASE;
    expect(quiet.mayBegin()).toBe(false);
  });
});

describe("being cut off", () => {
  test("stops no computing; what is finished is offered when the link is back", () => {
    const leases = new Leases();
    leases.on({ type: "link-restored", dropped: [] });
    leases.on({ type: "assigned", key: A });
    leases.on({ type: "link-lost" });
    expect(leases.on({ type: "computed", key: A, sha256: "x" })).toEqual([]);
    expect(heldKeys(leases.state)).toEqual([A]);
    expect(leases.on({ type: "link-restored", dropped: [] })).toEqual([{ type: "ask-grant", key: A, sha256: "x" }]);
  });

  test("a report that was under way is sent again", () => {
    const leases = granted();
    leases.on({ type: "written", key: A });
    leases.on({ type: "link-lost" });
    expect(leases.at(10_000)).toEqual([]);
    expect(leases.on({ type: "link-restored", dropped: [] })).toEqual([{ type: "report", key: A }]);
  });

  test("an answer that does not come is asked for again", () => {
    const leases = granted();
    leases.on({ type: "written", key: A });
    expect(leases.at(299)).toEqual([]);
    expect(leases.at(300)).toEqual([{ type: "report", key: A }]);
  });

  test("what is not the worker's any more when it comes back is dropped", () => {
    const leases = granted();
    leases.on({ type: "assigned", key: B });
    leases.on({ type: "link-lost" });
    expect(leases.on({ type: "link-restored", dropped: [A, B] })).toEqual([
      { type: "fence", key: A },
      { type: "hand-back", keys: [A] },
      { type: "drop", key: A },
      { type: "drop", key: B },
    ]);
  });
});

describe("giving up", () => {
  test("a cancelled write says that nothing is being written, once no call is under way", () => {
    const leases = granted();
    leases.on({ type: "io-began", key: A });
    expect(leases.on({ type: "dropped", keys: [A] })).toEqual([{ type: "fence", key: A }]);
    expect(leases.mayBegin()).toBe(false);
    expect(heldKeys(leases.state)).toEqual([]);
    expect(leases.on({ type: "io-ended", key: A })).toEqual([
      { type: "hand-back", keys: [A] },
      { type: "drop", key: A },
    ]);
  });

  test("a call of a cancelled write that outlives its lease ends the process all the same", () => {
    const leases = granted();
    leases.on({ type: "io-began", key: A });
    leases.on({ type: "dropped", keys: [A] });
    expect(leases.at(LEASE)).toEqual([{ type: "exit", key: A, sinceMs: 0 }]);
  });

  test("a drained worker hands back what has not begun, takes nothing, and ends when the rest is done", () => {
    const leases = granted();
    leases.on({ type: "assigned", key: B });
    expect(leases.on({ type: "drain", graceMs: 500, waiting: [B] })).toEqual([
      { type: "drop", key: B },
      { type: "hand-back", keys: [B] },
    ]);
    expect(leases.on({ type: "assigned", key: B })).toEqual([{ type: "hand-back", keys: [B] }]);
    leases.on({ type: "written", key: A });
    expect(leases.on({ type: "report-answered", key: A, answer: "accepted" })).toEqual([
      { type: "drop", key: A },
      { type: "drained" },
    ]);
  });

  test("what is left after the grace is handed back, when nothing of it is being written", () => {
    const leases = granted();
    leases.on({ type: "assigned", key: B });
    leases.on({ type: "drain", graceMs: 500, waiting: [] });
    leases.on({ type: "io-began", key: A });
    expect(leases.at(500)).toEqual([
      { type: "fence", key: A },
      { type: "drop", key: B },
      { type: "hand-back", keys: [B] },
    ]);
    expect(leases.on({ type: "io-ended", key: A }).map(({ type }) => type)).toEqual(["hand-back", "drop", "drained"]);
  });
});

describe("what a hello says of writing", () => {
  test("an attempt that had a grant is named until all of it is synced, or nothing of it is under way", () => {
    const leases = new Leases();
    leases.on({ type: "link-restored", dropped: [] });
    leases.on({ type: "assigned", key: A });
    leases.on({ type: "computed", key: A, sha256: "x" });
    expect(writingKeys(leases.state)).toEqual([]);
    leases.on({ type: "grant-answered", key: A, answer: "granted", askedMs: 0 });
    expect(writingKeys(leases.state)).toEqual([A]);
    leases.on({ type: "io-began", key: A });
    leases.on({ type: "dropped", keys: [A] });
    expect(writingKeys(leases.state)).toEqual([A]);
    expect(leases.on({ type: "io-ended", key: A })).toContainEqual({ type: "hand-back", keys: [A] });
    expect(writingKeys(leases.state)).toEqual([]);
  });

  test("one that is near its end, and asks again, is still named; one that is written is not", () => {
    const leases = granted();
    leases.at(LEASE - IO + 1);
    expect(writingKeys(leases.state)).toEqual([A]);
    const written = granted();
    written.on({ type: "written", key: A });
    expect(writingKeys(written.state)).toEqual([]);
  });

  test("a grant that was asked for before the link was restored counts for nothing: the hello did not name it", () => {
    const leases = new Leases();
    leases.on({ type: "link-restored", dropped: [] });
    leases.on({ type: "assigned", key: A });
    leases.on({ type: "computed", key: A, sha256: "x" });
    leases.nowMs = 10;
    leases.on({ type: "link-lost" });
    const late = { type: "grant-answered", key: A, answer: "granted", askedMs: 0 } as const;
    expect(leases.on(late)).toEqual([]);
    leases.nowMs = 20;
    expect(leases.on({ type: "link-restored", dropped: [] })).toContainEqual({
      type: "ask-grant",
      key: A,
      sha256: "x",
    });
    expect(leases.on(late)).toEqual([]);
    expect(leases.on({ ...late, askedMs: 20 })).toEqual([{ type: "write", key: A }]);
  });
});
