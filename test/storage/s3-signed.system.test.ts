/** Addresses that are signed for others, against a real S3 server: what they are good for, and what the store refuses. */
import { createHash } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { openSignedObjects, placeOf, type SignedAddress } from "../../storage/index.ts";
import { S3Server, s3ObjectsOf } from "../support/s3-server.ts";

const MIB = 2 ** 20;
const LASTS_MS = 60_000;
const PLACE = placeOf("s3://bucket/a b+c/model.safetensors");

async function begin() {
  const server = await S3Server.start();
  await server.makeBucket("bucket");
  const signed = await openSignedObjects();
  onTestFinished(() => signed.close());
  return { server, signed, objects: s3ObjectsOf(server.endpoint) };
}

const sha256Of = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** As a store answers that does not take it any more. */
const ended = ({ url, headers }: { url: string; headers: Readonly<Record<string, string>> }) => ({
  ...{ headers, url: url.replace(/(?<=X-Amz-Signature=)./, (digit) => (digit === "0" ? "1" : "0")) },
});

test("an object is read by whoever has its address, in ranges of the state that is meant, by the next address once one has ended", async () => {
  const { server, signed, objects } = await begin();
  const bytes = Uint8Array.from({ length: 300_000 }, (_, k) => k % 251);
  await server.put(PLACE.slice("s3://".length), bytes);
  const known = await (await objects.open(PLACE)).identity();
  let asked = 0;
  const ask = async () => {
    const address = await objects.signRead(PLACE, LASTS_MS);
    return ++asked % 2 === 1 ? ended(address) : address;
  };
  const file = await signed.open(PLACE, ask, known);
  expect(asked).toBe(0);
  const into = new Uint8Array(1000);
  await file.read(7000, into);
  expect([...into]).toEqual([...bytes.subarray(7000, 8000)]);
  expect(asked).toBe(2);
  await file.read(9000, into);
  expect(asked).toBe(2);
  await server.put(PLACE.slice("s3://".length), new Uint8Array(300_000));
  await expect(file.read(7000, into)).rejects.toMatchObject({
    ...{ code: "storage/changed", message: expect.stringContaining(PLACE) },
  });
  const always = await signed.open(PLACE, async () => ended(await objects.signRead(PLACE, LASTS_MS)), known);
  const refused = always.read(0, into);
  await expect(refused).rejects.toMatchObject({ code: "storage/denied" });
  await expect(refused).rejects.toThrow(/^(?!.*X-Amz)/s);
});

test("a part is put by whoever has its address, and no other bytes, no other number of them, and nowhere else", async () => {
  const { signed, objects } = await begin();
  const headersOf = (sha256: string) => ({ "x-amz-checksum-sha256": Buffer.from(sha256, "hex").toString("base64") });
  const [right, wrong] = [new Uint8Array(5 * MIB).fill(1), new Uint8Array(5 * MIB).fill(2)];
  const upload = await objects.beginUpload(PLACE);
  const part = { number: 3, sizeBytes: right.length, sha256: sha256Of(right) };
  const address = await objects.signPart(PLACE, upload, part, LASTS_MS);
  const put = (bytes: Uint8Array, given: SignedAddress = address) => signed.putPart(PLACE, async () => given, bytes);
  const { url, headers } = address;
  for (const [what, bytes, given] of [
    ["other bytes", wrong, address],
    ["fewer bytes", right.subarray(1), address],
    ["other bytes and their hash", wrong, { url, headers: { ...headers, ...headersOf(sha256Of(wrong)) } }],
    ["another part", right, { headers, url: url.replace("partNumber=3", "partNumber=4") }],
    ["another key", right, { headers, url: url.replace("model.safetensors", "other.safetensors") }],
    ["no hash", right, { url, headers: {} }],
  ] as const)
    await expect(put(bytes, given), what).rejects.toThrow(/^cannot put a part of (?!.*X-Amz-Sig)/s);
  expect(await objects.listParts(PLACE, upload)).toEqual([]);
  await put(right);
  await put(right);
  expect(await objects.listParts(PLACE, upload)).toMatchObject([{ number: 3, sha256: part.sha256 }]);
  await objects.abortUpload(PLACE, upload);
  await expect(put(right)).rejects.toMatchObject({ code: "storage/not-found" });
});
