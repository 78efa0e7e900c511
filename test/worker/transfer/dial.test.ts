/** Attempts to connect, by a clock of the test's own: what a router swallows is not waited for. */
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { type Connection, dial } from "../../../worker/transfer/index.ts";
import { ToldClock } from "../../support/told-clock.ts";

/** An address behind which nobody is, until somebody is. */
class Address {
  readonly clock = new ToldClock();
  /** Of each attempt: when it was made, and whether it is open. */
  readonly attempts: { readonly atMs: number; open: boolean }[] = [];
  answers = false;

  dial(): Promise<Connection> {
    const open = async (): Promise<Connection> => {
      const attempt = { atMs: this.clock.nowMs(), open: true };
      this.attempts.push(attempt);
      return {
        client: undefined as never,
        renewed: new Promise(() => {}),
        // Packets that were swallowed are not sent again within a test.
        tried: () => (this.answers ? Promise.resolve() : new Promise(() => {})),
        close: () => {
          attempt.open = false;
        },
      };
    };
    return dial(open, this.clock, "c:7410");
  }
}

const settled = async (dialed: Promise<Connection>) => {
  let how = "open";
  dialed.then(
    () => (how = "connected"),
    () => (how = "given up"),
  );
  await turn();
  return () => how;
};

test("a black hole is tried again every 2.5 s, each time by a channel of its own, and given up after 10 s", async () => {
  const address = new Address();
  const dialed = address.dial();
  const how = await settled(dialed);
  await address.clock.pass(9_999);
  expect(address.attempts.map(({ atMs }) => atMs)).toEqual([0, 2_500, 5_000, 7_500]);
  expect(how()).toBe("open");
  await address.clock.pass(10_000);
  await expect(dialed).rejects.toMatchObject({ code: "worker/unreachable", retryable: true });
  await turn();
  expect(address.attempts.some(({ open }) => open)).toBe(false);
  expect(address.clock.waiting).toBe(0);
});

test.each([1, 2_499, 2_501, 7_000])(
  "who listens from %i ms on is found by the next attempt, within 2.5 s",
  async (ms) => {
    const address = new Address();
    const how = await settled(address.dial());
    await address.clock.pass(ms);
    address.answers = true;
    await address.clock.pass(ms + 2_500);
    expect(how()).toBe("connected");
    const open = address.attempts.filter((attempt) => attempt.open);
    expect(open).toHaveLength(1);
    expect(address.clock.waiting).toBe(0);
  },
);

test("an earlier attempt that is answered late is taken: a link may be slow", async () => {
  const clock = new ToldClock();
  const answer: (() => void)[] = [];
  let closed = 0;
  const dialed = dial(
    async () => ({
      client: answer.length as never,
      renewed: new Promise(() => {}),
      tried: () => new Promise<void>((resolve) => answer.push(resolve)),
      close: () => closed++,
    }),
    clock,
    "c:7410",
  );
  await turn();
  await clock.pass(6_000);
  answer[0]?.();
  expect((await dialed).client).toBe(0);
  expect([answer.length, closed]).toEqual([3, 2]);
});

test("one that is refused is known at once", async () => {
  const address = new Address();
  address.answers = true; // that it is refused is an answer
  await address.dial();
  expect(address.attempts).toHaveLength(1);
  expect(address.clock.waiting).toBe(0);
});
