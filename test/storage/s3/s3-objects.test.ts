import { createHash } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { HttpRanges } from "../../../storage/http/http-ranges.ts";
import { join, PART_MIN_BYTES, placeOf, readWhole } from "../../../storage/index.ts";
import type { AwsSettings } from "../../../storage/s3/aws-settings.ts";
import { S3Buckets } from "../../../storage/s3/s3-buckets.ts";
import { S3Objects } from "../../../storage/s3/s3-objects.ts";
import { encodeKey } from "../../../storage/s3/sigv4.ts";
import { type Asked, type Fault, refuse, times } from "../../support/range-server.ts";
import { refuseWith, s3Imitation } from "../../support/s3-imitation.ts";
import { objectsContract } from "../objects.contract.ts";
import { bytesOf } from "../source.contract.ts";

async function begin(changes: Partial<AwsSettings> = {}, pageMax?: number) {
  const server = await s3Imitation(pageMax);
  const ranges = new HttpRanges({ firstPauseMs: 1, environment: {} });
  onTestFinished(() => ranges.close());
  const settings = {
    ...{ profile: "default", region: undefined, endpoint: new URL(server.origin), addressing: undefined },
    ...{ requesterPays: false, encryption: undefined, otherWay: undefined },
    ...{ keys: { accessKeyId: "id", secretAccessKey: "canary" }, ...changes },
  };
  const objects = new S3Objects(new S3Buckets(ranges, async () => settings));
  const folder = placeOf("s3://bucket/own");
  return { server, objects, folder, place: join(folder, "a b+c"), hasLinks: false };
}

objectsContract("an S3 store that is imitated", () => begin());
objectsContract("an S3 store whose pages hold two names", () => begin({}, 2));

type Rig = Awaited<ReturnType<typeof begin>>;

const isPut = ({ method, path }: Asked) => method === "PUT" && !path.includes("?");
const isComplete = ({ method, path }: Asked) => method === "POST" && path.includes("uploadId=");

/** Does what is asked, and its answer is lost: as often as is said. */
function lose({ server }: Rig, which: (asked: Asked) => boolean, count = 1): void {
  const good = server.faults.at(-1);
  let left = count;
  server.faults.unshift((asked, response, held) => {
    if (!which(asked) || left-- <= 0) return false;
    const { socket } = response;
    response.end = ((..._: unknown[]) => {
      socket?.destroy();
      return response;
    }) as typeof response.end;
    return good?.(asked, response, held) ?? false;
  });
}

/** Before all others. */
function first({ server }: Rig, fault: Fault): void {
  server.faults.unshift(fault);
}

const only =
  (which: (asked: Asked) => boolean, fault: Fault): Fault =>
  (asked, ...rest) =>
    which(asked) && fault(asked, ...rest);

/** As S3 begins an answer before it knows how it ends. */
const errorWithin =
  (code: string): Fault =>
  (asked, response, held) =>
    refuse(200, { "content-type": "application/xml" }, `<?xml version="1.0"?>\n\n<Error><Code>${code}</Code></Error>`)(
      asked,
      response,
      held,
    );

test("a put whose answer was lost is known again: the first one's, and nobody else's", async () => {
  const rig = await begin();
  const { objects, place } = rig;
  lose(rig, isPut);
  const version = await objects.put(place, bytesOf("mine"), { ifAbsent: true });
  expect((await objects.identity(place))?.version).toBe(version);
  const other = join(rig.folder, "other");
  first(
    rig,
    only(
      isPut,
      times(1, (asked, response, held) => {
        rig.server.put(`/${encodeKey(other.slice("s3://".length))}`, "theirs");
        return refuse(500)(asked, response, held);
      }),
    ),
  );
  await expect(objects.put(other, bytesOf("mine"), { ifAbsent: true })).rejects.toMatchObject({
    code: "storage/exists",
  });
});

test("a put that was never unclear is refused, though the same bytes are there", async () => {
  const { objects, place } = await begin();
  await objects.put(place, bytesOf("claim"), { ifAbsent: true });
  await expect(objects.put(place, bytesOf("claim"), { ifAbsent: true })).rejects.toMatchObject({
    code: "storage/exists",
  });
});

test("of a put whose answers are all lost it is looked whether it was done", async () => {
  const rig = await begin();
  lose(rig, isPut, 100);
  await rig.objects.put(rig.place, bytesOf("mine"));
  const rigWithout = await begin();
  first(rigWithout, only(isPut, refuse(500)));
  await expect(rigWithout.objects.put(rigWithout.place, bytesOf("mine"))).rejects.toMatchObject({
    code: "storage/network",
    retryable: true,
  });
});

async function uploaded({ objects, place }: Rig) {
  const upload = await objects.beginUpload(place);
  const bytes = new Uint8Array(PART_MIN_BYTES).fill(1);
  const parts = [
    await objects.putPart(place, upload, 1, bytes),
    await objects.putPart(place, upload, 2, bytesOf("end")),
  ];
  return { upload, parts };
}

test.each([
  ["lost", (rig: Rig) => lose(rig, isComplete)],
  ["lost each time", (rig: Rig) => lose(rig, isComplete, 100)],
  ["InternalError within 200", (rig: Rig) => first(rig, only(isComplete, times(1, errorWithin("InternalError"))))],
  ["SlowDown within 200", (rig: Rig) => first(rig, only(isComplete, times(6, errorWithin("SlowDown"))))],
  ["nothing within 200", (rig: Rig) => first(rig, only(isComplete, times(1, refuse(200, {}, "  "))))],
  [
    "a conflict for a while",
    (rig: Rig) =>
      first(
        rig,
        only(
          isComplete,
          times(2, (_, response) => refuseWith(response, 409, "ConditionalRequestConflict")),
        ),
      ),
  ],
])("an upload is completed where the answer is %s, and said again gives the same", async (_, fault) => {
  const rig = await begin();
  const { objects, place } = rig;
  const { upload, parts } = await uploaded(rig);
  fault(rig);
  const version = await objects.completeUpload(place, upload, parts, { ifAbsent: true });
  expect(await objects.identity(place)).toMatchObject({ version, sizeBytes: PART_MIN_BYTES + 3 });
  expect(await objects.completeUpload(place, upload, parts, { ifAbsent: true })).toBe(version);
});

test("an upload that is known no more, with another object at its place, is not taken for completed", async () => {
  const rig = await begin();
  const { objects, place } = rig;
  const { upload, parts } = await uploaded(rig);
  await objects.abortUpload(place, upload);
  await expect(objects.completeUpload(place, upload, parts)).rejects.toMatchObject({ code: "storage/not-found" });
  await objects.put(place, new Uint8Array(PART_MIN_BYTES + 3));
  await expect(objects.completeUpload(place, upload, parts, { ifAbsent: true })).rejects.toMatchObject({
    code: "storage/exists",
  });
  expect((await readWhole(objects, place, 1e8))[0]).toBe(0);
});

test("an error that stays within 200 is what is said", async () => {
  const rig = await begin();
  const { upload, parts } = await uploaded(rig);
  first(rig, only(isComplete, errorWithin("AccessDenied")));
  await expect(rig.objects.completeUpload(rig.place, upload, parts)).rejects.toMatchObject({
    code: "storage/denied",
    message: expect.stringContaining("AccessDenied"),
  });
});

test("bytes that are damaged on their way are sent again", async () => {
  const rig = await begin();
  const upload = await rig.objects.beginUpload(rig.place);
  first(
    rig,
    only(
      ({ path }) => path.includes("partNumber"),
      times(2, (_, response) => refuseWith(response, 400, "BadDigest")),
    ),
  );
  await rig.objects.putPart(rig.place, upload, 1, bytesOf("whole"));
  const asked = rig.server.asked.filter(({ path }) => path.includes("partNumber"));
  expect(asked).toHaveLength(3);
  const sha256 = createHash("sha256").update("whole").digest("base64");
  expect(asked.map(({ headers }) => headers["x-amz-checksum-sha256"])).toEqual([sha256, sha256, sha256]);
});

test("a store that asks for patience gets it, and what was sent to it is sent again", async () => {
  const rig = await begin();
  const upload = await rig.objects.beginUpload(rig.place);
  first(
    rig,
    times(7, (_, response) => refuseWith(response, 503, "SlowDown")),
  );
  await rig.objects.putPart(rig.place, upload, 1, new Uint8Array(3 * 2 ** 20).fill(5));
  expect((await rig.objects.listParts(rig.place, upload))[0]?.sizeBytes).toBe(3 * 2 ** 20);
});

test("a long body is sent in pieces, with its length, and whole", async () => {
  const rig = await begin();
  const bytes = Uint8Array.from({ length: 3 * 2 ** 20 + 5 }, (_, k) => (k * 2654435761) >>> 24);
  await rig.objects.put(rig.place, bytes);
  const [put] = rig.server.asked.filter(isPut);
  expect(put?.headers).toMatchObject({ "content-length": String(bytes.length) });
  expect(put?.headers["transfer-encoding"]).toBeUndefined();
  expect(Buffer.compare(await readWhole(rig.objects, rig.place, 1e8), bytes)).toBe(0);
});

test("what is written is encrypted as it is set, and signed so", async () => {
  const rig = await begin({ encryption: { algorithm: "aws:kms", keyId: "arn:key" } });
  await rig.objects.put(rig.place, bytesOf("x"));
  const upload = await rig.objects.beginUpload(rig.place);
  await rig.objects.putPart(rig.place, upload, 1, bytesOf("x"));
  const [put, created, part] = rig.server.asked;
  for (const asked of [put, created]) {
    expect(asked?.headers).toMatchObject({
      "x-amz-server-side-encryption": "aws:kms",
      "x-amz-server-side-encryption-aws-kms-key-id": "arn:key",
    });
    expect(asked?.headers.authorization).toContain("x-amz-server-side-encryption-aws-kms-key-id");
  }
  // The upload has it: a part that said it again would be refused.
  expect(Object.keys(part?.headers ?? {}).join()).not.toContain("encryption");
});

test("a refusal that comes while the body is on its way is no end of it", async () => {
  const rig = await begin();
  let left = 2;
  first(
    rig,
    only(isPut, (_, response) => {
      if (left-- <= 0) return false;
      response.socket?.destroy();
      return true;
    }),
  );
  await rig.objects.put(rig.place, new Uint8Array(8 * 2 ** 20));
  expect((await rig.objects.identity(rig.place))?.sizeBytes).toBe(8 * 2 ** 20);
});
