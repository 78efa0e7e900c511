import { JetStreamApiError } from "@nats-io/jetstream";
import { expect, test } from "vitest";
import { ask } from "../../../coordinator/nats/ask.ts";

const nats = { connection: { isClosed: () => false } } as Parameters<typeof ask>[0];

/** Calls that fail with each of `answers`, one after the other, and succeed then. */
function failing(...answers: ConstructorParameters<typeof JetStreamApiError>[0][]) {
  let calls = 0;
  const call = async () => {
    const answer = answers[calls++];
    if (answer !== undefined) throw new JetStreamApiError(answer);
    return "done";
  };
  return { call, calls: () => calls };
}

const noPeers = { code: 400, err_code: 10005, description: "no suitable peers for placement" };

test("what a cluster says that has just been started is asked again", async () => {
  const { call, calls } = failing({ code: 503, err_code: 10008, description: "system unavailable" }, noPeers);
  await expect(ask(nats, "make the stream S", call)).resolves.toBe("done");
  expect(calls()).toBe(3);
});

test.each([
  { code: 400, err_code: 10074, description: "replicas > 1 not supported in non-clustered mode" },
  { code: 503, err_code: 10023, description: "insufficient resources" },
  { ...noPeers, description: "no suitable peers for placement, insufficient storage" },
])("what will not pass is said at once: $description", async (answer) => {
  const { call, calls } = failing(answer);
  await expect(ask(nats, "make the stream S", call)).rejects.toThrow(`cannot make the stream S: ${answer.description}`);
  expect(calls()).toBe(1);
});
