import { createHash, randomBytes } from "node:crypto";
import { afterEach, expect, test } from "vitest";
import type { Assignment } from "../../../merge/work/index.ts";
import { GrantDecision, InputAccess, OutputAccess, ReportDecision } from "../../../proto/index.ts";
import { placeOf, type SlotPart } from "../../../storage/index.ts";
import { failuresOfCall } from "../../../wire/index.ts";
import { HandWorker, id, JOB, openRig, plan, RecordingJob, SIZE, unit } from "./link-rig.ts";

const bytes = randomBytes(SIZE);
const sha256 = createHash("sha256").update(bytes).digest();
const SLOT = placeOf("s3://bucket/out/.deltaworks/stage/model.safetensors");
const INPUT = placeOf("s3://bucket/models/base/model.safetensors");
const ref = { unit: unit("s000001"), attempt: 1 };
const PART: SlotPart = { offsetBytes: 100 + SIZE, sizeBytes: SIZE, sha256: sha256.toString("hex") };
const address = (what: string) => ({ url: `https://bucket.test/${what}`, headers: { "x-signed": what } });

let rig: Awaited<ReturnType<typeof openRig>>;
let job: RecordingJob;
/** What the store has of the output, and what was signed and put. */
let held: SlotPart[];
let said: unknown[][];

async function begin() {
  [held, said] = [[], []];
  rig = await openRig({
    shardPath: SLOT,
    signing: {
      canRead: () => true,
      read: async (place) => address(place),
      parts: {
        sign: async (slot, part, isGone) => {
          said.push(["sign", slot, part, isGone]);
          return address("part");
        },
        has: async (_, part) => held.some((one) => JSON.stringify(one) === JSON.stringify(part)),
      },
    },
    putPart: async (...part) => void said.push(["put", part[0], part[1], Buffer.from(part[2]).equals(bytes), part[3]]),
  });
  // The rig looks at inputs in its store: this one is in none.
  Object.assign(rig.job.inputs[0]?.files[0] ?? {}, { path: INPUT });
  job = new RecordingJob();
  await rig.hub.source(rig.job)(job);
}
afterEach(() => rig.close());

async function attached(takesSigned: boolean, roots: readonly string[] = []) {
  const worker = new HandWorker(rig.client(), "w1", {
    ...{ takesSigned, roots: roots.map((name) => ({ name, writable: true })) },
  });
  await worker.next("welcome");
  const slice: Assignment = {
    ...{ ...ref, kind: "slice", slice: plan.slices[1]!, tasks: [], verdicts: [], audit: false },
  };
  job.link!.assign(slice, 60_000);
  const described = (await worker.next("job")).value;
  return { worker, described };
}

const call = <R>(ask: (callback: (error: unknown, answer: R) => void) => void) =>
  new Promise<R>((resolve, reject) =>
    ask((error, answer) => (error ? reject(failuresOfCall(error as never, "coordinator")[0]) : resolve(answer))),
  );
const signPart = (worker: HandWorker, of: Buffer = sha256, attempt = 1, isGone = false) =>
  call((answer) =>
    worker.client.signPart({ id: id(attempt, "s000001"), sha256: of, isGone }, worker.metadata, answer as never),
  );
const granted = (worker: HandWorker) => worker.ask({ $case: "grant", value: { id: id(1, "s000001"), sha256 } });
const report = (worker: HandWorker) =>
  worker.ask({
    $case: "report",
    value: { id: id(1, "s000001"), counts: undefined, warnings: [], result: { $case: "sliceSha256", value: sha256 } },
  });

test("a worker that goes by signed addresses is told the places, and given addresses for what the job has", async () => {
  await begin();
  const { worker, described } = await attached(true);
  expect(described).toMatchObject({
    inputAccess: InputAccess.INPUT_ACCESS_SIGNED,
    outputAccess: OutputAccess.OUTPUT_ACCESS_SIGNED_PART,
    inputs: [{ files: [{ address: INPUT }] }],
    shardAddresses: [SLOT],
  });
  const read = (what: unknown) =>
    call((answer) => worker.client.signRead({ jobId: JOB, what } as never, worker.metadata, answer as never));
  expect(await read({ $case: "input", value: { input: 0, file: 0 } })).toMatchObject(address(INPUT));
  expect(await read({ $case: "shard", value: 0 })).toMatchObject(address(SLOT));
  for (const wrong of [{ $case: "input", value: { input: 0, file: 1 } }, { $case: "shard", value: 1 }, undefined])
    await expect(read(wrong)).rejects.toMatchObject({ code: "wire/malformed" });
});

test("an address to put a slice by is given to whoever holds the grant, for just the bytes that were granted", async () => {
  await begin();
  const { worker } = await attached(true);
  await expect(signPart(worker)).rejects.toMatchObject({ code: "link/not-granted" });
  expect(await granted(worker)).toEqual([{ $case: "grant", value: GrantDecision.GRANT_DECISION_GRANTED }]);
  expect(await signPart(worker)).toMatchObject(address("part"));
  await signPart(worker, sha256, 1, true);
  expect(said).toEqual([
    ["sign", SLOT, PART, false],
    ["sign", SLOT, PART, true],
  ]);
  for (const wrong of [signPart(worker, randomBytes(32)), signPart(worker, sha256, 2)])
    await expect(wrong).rejects.toMatchObject({ code: "link/not-granted" });
  job.mayWrite = () => false;
  await expect(signPart(worker)).rejects.toMatchObject({ code: "link/not-granted" });
});

test.each([
  ["signed addresses", []],
  ["keys of its own", ["models", "out"]],
])("a slice counts as written once the store has it; a worker that only says so has failed: %s", async (_, roots) => {
  await begin();
  const { worker, described } = await attached(true, roots);
  const { OUTPUT_ACCESS_ROOTS, OUTPUT_ACCESS_SIGNED_PART } = OutputAccess;
  expect(described.outputAccess).toBe(roots.length > 0 ? OUTPUT_ACCESS_ROOTS : OUTPUT_ACCESS_SIGNED_PART);
  await granted(worker);
  held.push({ ...PART, sha256: "00".repeat(32) });
  await report(worker);
  expect(job.heard.at(-1)).toEqual(["reported", "w1", "failed", 1]);
  held.push(PART);
  await report(worker);
  expect(job.heard.at(-1)).toEqual(["reported", "w1", "slice", 1]);
  expect(rig.defects).toEqual([]);
});

test("the result of a worker that does not is gathered here, and put once it is whole", async () => {
  await begin();
  const { worker, described } = await attached(false);
  expect(described).toMatchObject({
    inputAccess: InputAccess.INPUT_ACCESS_READ_INPUT,
    outputAccess: OutputAccess.OUTPUT_ACCESS_SEND_RESULT,
    inputs: [{ files: [{ address: "" }] }],
    shardAddresses: [],
  });
  await granted(worker);
  const send = (ends: boolean) =>
    call((answer) => {
      const stream = worker.client.sendResult(worker.metadata, answer as never);
      const value = { id: id(1, "s000001"), offsetBytes: 0n, sizeBytes: BigInt(SIZE) };
      stream.write({ message: { $case: "header", value } });
      for (let at = 0; at < SIZE; at += 1024 * 1024)
        stream.write({ message: { $case: "chunk", value: bytes.subarray(at, at + 1024 * 1024) } });
      if (ends) stream.write({ message: { $case: "sha256", value: sha256 } });
      stream.end();
    });
  await expect(send(false)).rejects.toMatchObject({ code: "wire/malformed" });
  expect(said).toEqual([]);
  await send(true);
  expect(said).toEqual([["put", SLOT, PART.offsetBytes, true, PART.sha256]]);
  await send(true);
  expect(said).toHaveLength(1);
  expect(await report(worker)).toEqual([{ $case: "report", value: ReportDecision.REPORT_DECISION_ACCEPTED }]);
});
