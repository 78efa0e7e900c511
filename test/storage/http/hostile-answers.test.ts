/** What becomes of a hundred answers that no good server gives. */
import { expect, onTestFinished, test } from "vitest";
import { HttpRanges } from "../../../storage/http/http-ranges.ts";
import { placeOf } from "../../../storage/index.ts";
import { HOSTILE_OBJECT_BYTES, hostileAnswers } from "../../support/hostile-answers.ts";
import { rangeServer } from "../../support/range-server.ts";

const bytes = Uint8Array.from({ length: HOSTILE_OBJECT_BYTES }, (_, k) => (k * 2654435761) >>> 24);

test("there are a hundred of them, each once", () => {
  expect(new Set(hostileAnswers.map(({ title }) => title)).size).toBe(hostileAnswers.length);
  expect(hostileAnswers.length).toBeGreaterThanOrEqual(100);
});

const ways = hostileAnswers.flatMap((answer) => [
  { ...answer, memory: undefined, by: "by copies" },
  { ...answer, memory: "steady" as const, by: "by the kernel" },
]);

test.each(ways)("$by, $title: $becomes", async ({ fault, becomes, memory }) => {
  const server = await rangeServer();
  server.put("/model", bytes);
  const ranges = new HttpRanges({ environment: {}, firstPauseMs: 1, deadlines: { headMs: 150, stallMs: 150 } });
  onTestFinished(() => ranges.close());
  const address = { url: new URL(`${server.origin}/model`), headers: { authorization: "canary" } };
  const state = { sizeBytes: bytes.length, etag: server.files.get("/model")?.etag };
  const target = { place: placeOf("https://models.test/model"), state, address: () => address };
  server.faults.push(fault);
  const room = new Uint8Array(100_200).fill(7);
  const into = room.subarray(100, 100_100);
  const read = ranges.read(target, 1000, into, memory);
  if (becomes === "bytes" || becomes === "wrong bytes") {
    await read;
    const isRight = Buffer.from(into).equals(bytes.subarray(1000, 101_000));
    expect(isRight).toBe(becomes === "bytes");
  } else {
    const error: unknown = await read.then(
      () => undefined,
      (thrown) => thrown,
    );
    expect(error).toMatchObject({ code: becomes, message: expect.stringContaining("https://models.test/model") });
    expect(String(error)).not.toContain("canary");
  }
  // Nothing is written beside what was asked for, nor once that is settled.
  const settled = into.slice();
  expect([room.subarray(0, 100), room.subarray(100_100)].every((beside) => beside.every((byte) => byte === 7))).toBe(
    true,
  );
  // It does not poison what comes after it.
  server.faults.length = 0;
  const again = new Uint8Array(1000);
  await ranges.read(target, 5, again, memory);
  expect(Buffer.from(again).equals(bytes.subarray(5, 1005))).toBe(true);
  expect(Buffer.from(into).equals(settled)).toBe(true);
});
