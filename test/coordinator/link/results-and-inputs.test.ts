import { createHash, randomBytes } from "node:crypto";
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Assignment } from "../../../merge/work/index.ts";
import {
  type FetchResultRequest,
  ReportDecision,
  type SendResultRequest,
  SliceReport,
  WorkerService,
} from "../../../proto/index.ts";
import { FileStore, type Files, type Place, StorageError, type StoredFile } from "../../../storage/index.ts";
import { CHUNK_BYTES, failuresOfCall } from "../../../wire/index.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { HandWorker, id, JOB, openRig, plan, RecordingJob, SIZE, unit } from "./link-rig.ts";

const bytes = randomBytes(SIZE);
const sha256 = createHash("sha256").update(bytes).digest();
let folder: string;
let shard: string;
let job: RecordingJob;
let rig: Awaited<ReturnType<typeof openRig>>;

/** Fails the next syncs, and the writes after so many. */
class FaultyStore extends FileStore {
  failingSyncs = 0;
  writesBeforeFailure = Number.POSITIVE_INFINITY;
  override async openForWriting(path: Place): Promise<StoredFile> {
    const file = await super.openForWriting(path);
    const sync = file.sync.bind(file);
    const write = file.write.bind(file);
    return Object.assign(file, {
      write: async (offsetBytes: number, of: Uint8Array) => {
        if (this.writesBeforeFailure-- === 0)
          throw new StorageError("storage/io", "EIO", { hint: "", retryable: true });
        return write(offsetBytes, of);
      },
      sync: async () => {
        if (this.failingSyncs-- > 0) throw new StorageError("storage/io", "EIO", { hint: "", retryable: true });
        return sync();
      },
    });
  }
}
let store: FaultyStore & Files;

beforeEach(async () => {
  folder = temporaryFolder();
  mkdirSync(join(folder, "stage"));
  shard = join(folder, "stage", "model.safetensors");
  const file = openSync(shard, "w");
  ftruncateSync(file, 100 + 2 * SIZE);
  closeSync(file);
  writeFileSync(join(folder, "input"), bytes);
  store = new FaultyStore();
  rig = await openRig({ shardPath: shard, inputPath: join(folder, "input"), store });
  job = new RecordingJob();
  await rig.hub.source(rig.job)(job);
});
afterEach(async () => {
  await rig.close();
});

const slice = (attempt: number): Assignment => ({
  ...{ unit: unit("s000001"), attempt, kind: "slice", slice: plan.slices[1]!, tasks: [], verdicts: [], audit: false },
});
const ref = (attempt: number) => ({ unit: unit("s000001"), attempt });
const messageId = (attempt: number) => id(attempt, "s000001");
const written = () => readFileSync(shard).subarray(100 + SIZE);

async function attached(listenAddress = "") {
  const worker = new HandWorker(rig.client(), "w1", { listenAddress });
  await worker.next("welcome");
  return worker;
}

function granted(worker: HandWorker, attempt: number) {
  job.link!.assign(slice(attempt), 60_000);
  return worker.ask({ $case: "grant", value: { id: messageId(attempt), sha256 } });
}

/** Sends messages and ends, or cuts the connection instead. */
function sendResult(worker: HandWorker, messages: SendResultRequest["message"][], cut = false) {
  return new Promise<bigint>((resolve, reject) => {
    const call = worker.client.sendResult(worker.metadata, (error, answer) =>
      error === null ? resolve(answer.receivedBytes) : reject(failuresOfCall(error, "coordinator")[0]),
    );
    for (const message of messages) call.write({ message });
    if (!cut) call.end();
    else void whenReceived(worker).then(() => call.cancel());
  });
}

async function whenReceived(worker: HandWorker): Promise<void> {
  while ((await received(worker, 1)) < BigInt(2 * CHUNK_BYTES)) await new Promise((resolve) => setImmediate(resolve));
}

function received(worker: HandWorker, attempt: number) {
  return new Promise<bigint>((resolve, reject) =>
    worker.client.queryResult({ id: messageId(attempt) }, worker.metadata, (error, answer) =>
      error === null ? resolve(answer.receivedBytes) : reject(error),
    ),
  );
}

const header = (attempt: number, offset = 0, size = SIZE) =>
  ({
    $case: "header",
    value: { id: messageId(attempt), offsetBytes: BigInt(offset), sizeBytes: BigInt(size) },
  }) as const;
const chunk = (from: number, to = Math.min(SIZE, from + CHUNK_BYTES)) =>
  ({ $case: "chunk", value: bytes.subarray(from, to) }) as const;
const chunks = (from: number) =>
  Array.from({ length: Math.ceil((SIZE - from) / CHUNK_BYTES) }, (_, k) => chunk(from + k * CHUNK_BYTES));
const end = (hash = sha256) => ({ $case: "sha256", value: hash }) as const;

async function report(worker: HandWorker, attempt: number) {
  const value = SliceReport.fromPartial({ id: messageId(attempt), result: { $case: "sliceSha256", value: sha256 } });
  const [answer] = await worker.ask({ $case: "report", value });
  return answer?.$case === "report" ? answer.value : undefined;
}

describe("SendResult", () => {
  test("puts a granted result at its slice's place, and sending it again is fine", async () => {
    const worker = await attached();
    await granted(worker, 1);
    const whole = [header(1), ...chunks(0), end()];
    expect(await sendResult(worker, whole)).toBe(BigInt(SIZE));
    expect(written().equals(bytes)).toBe(true);
    expect(await sendResult(worker, whole)).toBe(BigInt(SIZE));
    expect(await report(worker, 1)).toBe(ReportDecision.REPORT_DECISION_ACCEPTED);
    // Nothing beyond the slice was touched.
    expect(
      readFileSync(shard)
        .subarray(0, 100 + SIZE)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  test("goes on where the connection was cut", async () => {
    const worker = await attached();
    await granted(worker, 1);
    await expect(sendResult(worker, [header(1), chunk(0), chunk(CHUNK_BYTES)], true)).rejects.toBeDefined();
    const offset = Number(await received(worker, 1));
    expect(offset).toBe(2 * CHUNK_BYTES);
    await sendResult(worker, [header(1, offset), ...chunks(offset), end()]);
    expect(written().equals(bytes)).toBe(true);
  });

  test.each([
    ["without a grant", 2, [header(2), ...chunks(0), end()], "link/not-granted"],
    ["of another size", 1, [header(1, 0, SIZE - 1), chunk(0)], "link/offset"],
    ["from the middle on", 1, [header(1, CHUNK_BYTES), chunk(CHUNK_BYTES)], "link/offset"],
    ["with another hash", 1, [header(1), ...chunks(0), end(randomBytes(32))], "link/result-differs"],
    ["that is cut short", 1, [header(1), chunk(0), end()], "link/offset"],
    ["without an end", 1, [header(1), chunk(0)], "wire/malformed"],
    ["without a beginning", 1, [chunk(0)], "wire/malformed"],
  ] as const)("a result %s is refused", async (_, attempt, messages, code) => {
    const worker = await attached();
    await granted(worker, 1);
    if (attempt === 2) job.link!.assign(slice(2), 60_000);
    await expect(sendResult(worker, [...messages])).rejects.toMatchObject({ code });
    expect(await report(worker, attempt)).toBe(ReportDecision.REPORT_DECISION_STALE);
  });

  test("an attempt whose grant has passed on writes nothing more", async () => {
    const worker = await attached();
    await granted(worker, 1);
    await granted(worker, 2);
    await expect(sendResult(worker, [header(1), ...chunks(0), end()])).rejects.toMatchObject({
      code: "link/not-granted",
    });
    expect(written().every((byte) => byte === 0)).toBe(true);
  });

  test("an attempt whose lease is over writes nothing more, in the middle of its stream either: another may lead by then", async () => {
    const worker = await attached();
    await granted(worker, 1);
    let asked = 0;
    job.mayWrite = () => ++asked <= 4; // before the file is opened and before it is written, each time
    await expect(sendResult(worker, [header(1), ...chunks(0), end()])).rejects.toMatchObject({
      code: "link/not-granted",
    });
    expect(await received(worker, 1)).toBe(BigInt(2 * CHUNK_BYTES));
    expect(
      written()
        .subarray(2 * CHUNK_BYTES)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  test("a cancelled attempt writes nothing more, in the middle of its stream either", async () => {
    const worker = await attached();
    await granted(worker, 1);
    const call = worker.client.sendResult(worker.metadata, () => {});
    call.on("error", () => {});
    call.write({ message: header(1) });
    call.write({ message: chunk(0) });
    call.write({ message: chunk(CHUNK_BYTES) });
    await whenReceived(worker);
    job.link!.cancel([ref(1)]);
    const ended = new Promise((resolve) => call.on("status", resolve));
    call.write({ message: chunk(2 * CHUNK_BYTES) });
    await ended;
    expect(
      written()
        .subarray(2 * CHUNK_BYTES)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  test("after a failed sync nothing of it counts", async () => {
    const worker = await attached();
    await granted(worker, 1);
    store.failingSyncs = 1;
    const whole = [header(1), ...chunks(0), end()];
    await expect(sendResult(worker, whole)).rejects.toMatchObject({ code: "storage/io" });
    expect(await received(worker, 1)).toBe(0n);
    expect(await report(worker, 1)).toBe(ReportDecision.REPORT_DECISION_STALE);
    await sendResult(worker, whole);
    expect(await report(worker, 1)).toBe(ReportDecision.REPORT_DECISION_ACCEPTED);
  });
});

describe("a write that failed half way", () => {
  test("is written and hashed once when the stream is taken up again", async () => {
    const worker = await attached();
    await granted(worker, 1);
    store.writesBeforeFailure = 2;
    await expect(sendResult(worker, [header(1), ...chunks(0), end()])).rejects.toMatchObject({ code: "storage/io" });
    const offset = Number(await received(worker, 1));
    expect(offset).toBe(2 * CHUNK_BYTES);
    await sendResult(worker, [header(1, offset), ...chunks(offset), end()]);
    expect(written().equals(bytes)).toBe(true);
    expect(await report(worker, 1)).toBe(ReportDecision.REPORT_DECISION_ACCEPTED);
  });
});

describe("FetchResult", () => {
  /** A worker's own port, which cuts the first `cuts` streams after two chunks. */
  async function offering(cuts: number, offered = bytes) {
    const offsets: number[] = [];
    const server = new Server();
    server.addService(WorkerService, {
      fetchResult: (call: {
        request: FetchResultRequest;
        write(message: unknown): void;
        end(): void;
        emit(name: string, error: unknown): void;
      }) => {
        const from = Number(call.request.offsetBytes);
        offsets.push(from);
        const pieces = Array.from({ length: Math.ceil((SIZE - from) / CHUNK_BYTES) }, (_, k) => from + k * CHUNK_BYTES);
        const cut = offsets.length <= cuts;
        for (const at of cut ? pieces.slice(0, 2) : pieces) {
          call.write({ chunk: offered.subarray(at, Math.min(SIZE, at + CHUNK_BYTES)), sha256: Buffer.alloc(0) });
        }
        if (cut) return call.emit("error", { code: 14, details: "cut" });
        call.write({ chunk: Buffer.alloc(0), sha256 });
        call.end();
      },
    });
    const port = await new Promise<number>((resolve) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (_, bound) => resolve(bound)),
    );
    return { address: `127.0.0.1:${port}`, offsets, close: () => server.forceShutdown() };
  }

  test("brings a granted result, going on where a stream was cut; the report is answered when it is there", async () => {
    const offer = await offering(1);
    const worker = await attached(offer.address);
    await granted(worker, 1);
    expect(await report(worker, 1)).toBe(ReportDecision.REPORT_DECISION_ACCEPTED);
    expect(written().equals(bytes)).toBe(true);
    expect(offer.offsets).toEqual([0, 2 * CHUNK_BYTES]);
    offer.close();
  });

  test("a result that does not come, or is another, is a failure of the attempt", async () => {
    const wrong = await offering(0, randomBytes(SIZE));
    const worker = await attached(wrong.address);
    await granted(worker, 1);
    await report(worker, 1);
    expect(job.heard.at(-1)).toEqual(["reported", "w1", "failed", 1]);
    wrong.close();
    await granted(worker, 2);
    await report(worker, 2);
    expect(job.heard.at(-1)).toEqual(["reported", "w1", "failed", 2]);
  });
});

describe("ReadInput", () => {
  async function read(worker: HandWorker, offset: number, size: number, file = 0) {
    const call = worker.client.readInput(
      { jobId: JOB, input: 0, file, offsetBytes: BigInt(offset), sizeBytes: BigInt(size) },
      worker.metadata,
    );
    const pieces: Buffer[] = [];
    for await (const { chunk: piece } of call) pieces.push(piece);
    return pieces;
  }

  test("gives the bytes of a range, in chunks", async () => {
    const worker = await attached();
    const pieces = await read(worker, 12_345, 2 * CHUNK_BYTES + 7);
    expect(pieces.map(({ length }) => length)).toEqual([CHUNK_BYTES, CHUNK_BYTES, 7]);
    expect(Buffer.concat(pieces).equals(bytes.subarray(12_345, 12_345 + 2 * CHUNK_BYTES + 7))).toBe(true);
  });

  test("refuses ranges and files that are not the job's", async () => {
    const worker = await attached();
    for (const call of [read(worker, SIZE - 1, 2), read(worker, 0, 1, 1)]) {
      const failed = await call.then(undefined, (error) => failuresOfCall(error, "coordinator")[0]);
      expect(failed).toMatchObject({ code: "wire/malformed" });
    }
  });

  test("a file that changed since the plan was made is refused, by name", async () => {
    const worker = await attached();
    writeFileSync(join(folder, "input"), randomBytes(SIZE));
    const failed = await read(worker, 0, 10).then(undefined, (error) => failuresOfCall(error, "coordinator")[0]);
    expect(failed).toMatchObject({ code: "merge/input-changed", message: expect.stringContaining("input") });
  });

  test("a reader that stops reading stops the coordinator's reading", async () => {
    let readBytes = 0;
    const { open } = store;
    store.open = async (path) => {
      const file = await open.call(store, path);
      const plain = file.read.bind(file);
      return Object.assign(file, {
        read: (at: number, into: Uint8Array) => {
          readBytes += into.length;
          return plain(at, into);
        },
      });
    };
    const worker = await attached();
    const call = worker.client.readInput(
      { jobId: JOB, input: 0, file: 0, offsetBytes: 0n, sizeBytes: BigInt(SIZE) },
      worker.metadata,
    );
    call.on("error", () => {});
    // Whole round trips go by; none of them lets it read on.
    for (let k = 0; k < 20; k++) await received(worker, 1);
    expect(readBytes).toBeGreaterThan(0);
    expect(readBytes).toBeLessThan(SIZE);
    call.cancel();
  });
});
