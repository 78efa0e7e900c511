/**
 * Workers of the release before, byte by byte as that release wrote its messages: served where they mean the same, refused with a sentence
 * where they do not; never taken for something that they did not say.
 */
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { type ClientDuplexStream, Metadata, status } from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AttachResponse } from "../../../proto/index.ts";
import { PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, responsesIn, WORKER_KEY } from "../../../wire/index.ts";
import { JOB, openRig, RecordingJob, unit } from "./link-rig.ts";

let rig: Awaited<ReturnType<typeof openRig>>;
let job: RecordingJob;
beforeEach(async () => {
  rig = await openRig();
  job = new RecordingJob();
  await rig.hub.source(rig.job)(job);
});
afterEach(() => rig.close());

const message = (write: (writer: BinaryWriter) => void): Uint8Array => {
  const writer = new BinaryWriter();
  write(writer);
  return writer.finish();
};
const attempt = (number: number) =>
  message((writer) => writer.uint32(10).string(JOB).uint32(18).string("s000000").uint32(24).uint64(number));

/** AttachRequest with a hello as the contract was first released: fields 1 to 12. */
const hello = (version: number, held: readonly number[] = []) =>
  message((writer) => {
    const body = message((inner) => {
      inner.uint32(8).uint32(version).uint32(18).string("0.0.9").uint32(26).string("old").uint32(34).string("wasm");
      inner
        .uint32(42)
        .bytes(Buffer.alloc(32, 7))
        .uint32(48)
        .uint32(2)
        .uint32(56)
        .uint64(2 ** 30);
      for (const number of held) inner.uint32(82).bytes(attempt(number));
      inner.uint32(90).string("run-1").uint32(98).string("there");
    });
    writer.uint32(10).bytes(body);
  });

/** AttachRequest with a heartbeat that counts bytes. */
const heartbeat = (number: number) =>
  message((writer) => {
    const progress = message((inner) =>
      inner.uint32(10).bytes(attempt(number)).uint32(16).uint64(12_345).uint32(24).bool(true),
    );
    const body = message((inner) => inner.uint32(8).uint64(1).uint32(18).bytes(progress).uint32(24).uint64(1));
    writer.uint32(18).bytes(body);
  });

/** A worker that sends bytes, and what it hears. */
function oldWorker() {
  const metadata = new Metadata();
  metadata.set(WORKER_KEY, "old");
  const stream = rig.client().makeBidiStreamRequest(
    "/deltaworks.v1.Coordinator/Attach",
    (bytes: Uint8Array) => Buffer.from(bytes),
    (bytes: Buffer) => AttachResponse.decode(new BinaryReader(bytes)),
    metadata,
  ) as ClientDuplexStream<Uint8Array, AttachResponse>;
  const heard: NonNullable<AttachResponse["message"]>[] = [];
  let wake = () => {};
  stream.on("data", (response: AttachResponse) => {
    for (const of of responsesIn(response)) if (of !== undefined) heard.push(of);
    wake();
  });
  stream.on("error", () => {});
  const ended = new Promise<{ readonly code: number; readonly details: string }>((resolve) => {
    stream.on("status", resolve);
  });
  const next = async () => {
    while (heard.length === 0)
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    return heard.shift();
  };
  return { stream, ended, next };
}

test("a worker that says less is served: what it does not say is not taken for said", async () => {
  const { stream, next } = oldWorker();
  stream.write(hello(PROTOCOL_VERSION_MIN, [3]));
  expect(await next()).toMatchObject({ $case: "welcome", value: { protocolVersion: PROTOCOL_VERSION, dropped: [] } });
  expect(job.heard[0]).toEqual(["attached", "old", 0, 3]);
  // It may be writing anything that it was ever granted: nothing is told.
  expect(job.told).toEqual([]);
  expect(rig.hub.attachedWorker("old").writing).toBeUndefined();
  expect(rig.hub.attachedWorker("old").facts).toMatchObject({ engine: "wasm", kernels: "07".repeat(32), threads: 2 });
  stream.write(heartbeat(3));
  expect(await next()).toMatchObject({ $case: "heartbeat", value: { sequence: 1n, dropped: [] } });
  expect(job.heard.at(-1)).toEqual(["heartbeat", "old", 3]);
  job.link?.cancel([{ unit: unit("s000000"), attempt: 3 }]);
  expect(await next()).toMatchObject({ $case: "cancel" });
});

test.each([
  [0, "upgrade the worker"],
  [PROTOCOL_VERSION_MIN - 1, "the coordinator versions 4 to 4 (deltaworks 0.0.0): upgrade the worker"],
  [PROTOCOL_VERSION + 1, "upgrade the coordinator"],
])("one of version %i is refused, and told which side to upgrade", async (version, sentence) => {
  const { stream, ended } = oldWorker();
  stream.write(hello(version));
  const { code, details } = await ended;
  expect(code).toBe(status.FAILED_PRECONDITION);
  expect(details).toContain(sentence);
  expect([...rig.hub.workers]).toEqual([]);
  expect(job.heard).toEqual([]);
});

test("what asked for grants and reported in calls of its own is told that there are none, if it gets so far", async () => {
  const metadata = new Metadata();
  metadata.set(WORKER_KEY, "old");
  const call = (name: string) =>
    new Promise<number | undefined>((resolve) =>
      rig.client().makeUnaryRequest(
        `/deltaworks.v1.Coordinator/${name}`,
        (bytes: Uint8Array) => Buffer.from(bytes),
        (bytes: Buffer) => bytes,
        message((writer) => writer.uint32(10).bytes(message((inner) => inner.uint32(10).bytes(attempt(3))))),
        metadata,
        (error) => resolve(error?.code),
      ),
    );
  for (const name of ["RequestGrants", "ReportSlices", "ReportFailures"])
    expect(await call(name)).toBe(status.UNIMPLEMENTED);
  expect(job.heard).toEqual([]);
});

test("messages of kinds that are unknown here end the session; nothing of them is carried out", async () => {
  const { stream, ended, next } = oldWorker();
  stream.write(hello(PROTOCOL_VERSION));
  await next();
  const before = job.heard.length;
  stream.write(message((writer) => writer.uint32((15 << 3) | 2).bytes(attempt(3))));
  expect((await ended).code).toBe(status.INVALID_ARGUMENT);
  expect(job.heard.slice(before).filter(([what]) => what !== "detached" && what !== "slotsChanged")).toEqual([]);
});
