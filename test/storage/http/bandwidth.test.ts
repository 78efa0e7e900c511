import { expect, onTestFinished, test } from "vitest";
import { Bandwidth, slowed } from "../../../storage/http/bandwidth.ts";
import { HttpRanges } from "../../../storage/http/http-ranges.ts";
import { placeOf } from "../../../storage/index.ts";
import { rangeServer } from "../../support/range-server.ts";
import { serverCertificate } from "../../support/server-certificate.ts";

test("whoever takes bytes waits until all that was taken has had its time", () => {
  const bandwidth = new Bandwidth(1_000_000);
  expect(bandwidth.take(100_000, 50)).toBe(100);
  expect(bandwidth.take(100_000, 50)).toBe(200);
  expect(bandwidth.take(50_000, 150)).toBe(150);
  // What was not used is not made up for.
  expect(bandwidth.take(100_000, 10_000)).toBe(100);
});

test("short waits are put together", () => {
  const bandwidth = new Bandwidth(1_000_000);
  const waits = Array.from({ length: 8 }, () => bandwidth.take(1000, 7));
  expect(waits).toEqual([0, 0, 0, 0, 5, 6, 7, 8]);
});

test.each(["http", "https", "by a proxy's client"])(
  "what is slowed down comes whole, and its pauses are no silence of the server: %s",
  async (way) => {
    const { ca, ...own } = await serverCertificate();
    const server = await rangeServer(way === "https" ? own : undefined);
    const bytes = Uint8Array.from({ length: 400_000 }, (_, k) => (k * 2654435761) >>> 24);
    server.put("/model", bytes);
    const ranges = new HttpRanges({
      ...{ ca, environment: {}, bandwidthBytes: 800_000, deadlines: { stallMs: 20, headMs: 2_000 }, firstPauseMs: 1 },
    });
    onTestFinished(() => ranges.close());
    if (way === "by a proxy's client") {
      // An answer in chunks is read by it.
      server.faults.push((_, response) => {
        response.writeHead(206, { "content-range": `bytes 0-199999/${bytes.length}` });
        response.end(bytes.subarray(0, 200_000));
        return true;
      });
    }
    const address = { url: new URL(`${server.origin}/model`), headers: {} };
    const target = { place: placeOf("https://models.test/model"), address: () => address };
    const into = new Uint8Array(200_000);
    await ranges.read(target, 0, into);
    expect(Buffer.from(into).equals(bytes.subarray(0, 200_000))).toBe(true);
    expect(server.asked.length).toBeLessThanOrEqual(2);
  },
);

test("what is sent goes piece by piece, each when its time has come", async () => {
  const waits: number[] = [];
  const pieces = [100_000, 50_000, 0, 100_000].map((length) => new Uint8Array(length));
  const sent: Uint8Array[] = [];
  const pause = async (ms: number) => void waits.push(ms);
  for await (const piece of slowed(pieces, new Bandwidth(100_000), pause)) sent.push(piece);
  expect(sent).toEqual(pieces);
  // Nobody waited in truth, so each waits for all before it as well, but for the time that passed.
  expect(waits).toHaveLength(4);
  for (const [k, ms] of [1000, 1500, 1500, 2500].entries()) {
    expect(waits[k]).toBeLessThanOrEqual(ms + 1);
    expect(waits[k]).toBeGreaterThan(ms - 500);
  }
});
