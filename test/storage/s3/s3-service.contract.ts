import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { PART_MIN_BYTES } from "../../../storage/index.ts";

/** What was answered: of an error its code, of XML its text, of an object its bytes. */
export interface Answered {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
}

export interface ServiceQuestion {
  readonly method: string;
  /** Path and query below the bucket: `/key?query`. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** One bucket, empty, of a server that speaks S3. */
export type AskService = (question: ServiceQuestion) => Promise<Answered>;

/** What the simulated S3 and a real one answer alike: all that deltaworks rests on where it writes. */
export function s3ServiceContract(name: string, begin: () => Promise<AskService>): void {
  describe(`${name} answers as S3 does`, () => {
    test("an object is put, told by HEAD with its hash, given whole and in ranges on a condition, and removed", async () => {
      const ask = await begin();
      const body = Buffer.from("0123456789");
      const put = await ask({
        method: "PUT",
        path: "/a/b",
        body,
        headers: { "x-amz-checksum-sha256": base64Of(body) },
      });
      expect(put.status).toBe(200);
      const etag = put.headers.get("etag") ?? "";
      expect(etag).toBe(`"${createHash("md5").update(body).digest("hex")}"`);
      const head = await ask({ method: "HEAD", path: "/a/b", headers: { "x-amz-checksum-mode": "ENABLED" } });
      expect([head.status, head.headers.get("content-length"), head.headers.get("etag")]).toEqual([200, "10", etag]);
      expect(head.headers.get("x-amz-checksum-sha256")).toBe(base64Of(body));
      const range = await ask({ method: "GET", path: "/a/b", headers: { range: "bytes=2-4", "if-match": etag } });
      expect([range.status, range.headers.get("content-range"), textOf(range)]).toEqual([206, "bytes 2-4/10", "234"]);
      const other = { range: "bytes=2-4", "if-match": '"other"' };
      expect((await ask({ method: "GET", path: "/a/b", headers: other })).status).toBe(412);
      expect((await ask({ method: "GET", path: "/a/b", headers: { range: "bytes=10-12" } })).status).toBe(416);
      expect((await ask({ method: "DELETE", path: "/a/b" })).status).toBe(204);
      expect((await ask({ method: "DELETE", path: "/a/b" })).status).toBe(204);
      expect(codeOf(await ask({ method: "GET", path: "/a/b" }))).toEqual([404, "NoSuchKey"]);
      expect((await ask({ method: "HEAD", path: "/a/b" })).status).toBe(404);
    });

    test("bytes that are not those of their hash are refused, and nothing is there", async () => {
      const ask = await begin();
      const headers = { "x-amz-checksum-sha256": base64Of(Buffer.from("others")) };
      expect((await ask({ method: "PUT", path: "/a", body: Buffer.from("these"), headers })).status).toBe(400);
      const upload = await begun(ask, "/b");
      const part = `/b?partNumber=1&uploadId=${upload}`;
      expect((await ask({ method: "PUT", path: part, body: Buffer.from("these"), headers })).status).toBe(400);
      expect((await ask({ method: "HEAD", path: "/a" })).status).toBe(404);
      expect(numbersIn(await ask({ method: "GET", path: `/b?uploadId=${upload}` }))).toEqual([]);
    });

    test("conditions of what is put and removed hold", async () => {
      const ask = await begin();
      const put = (text: string, headers: Record<string, string>) =>
        ask({ method: "PUT", path: "/a", body: Buffer.from(text), headers });
      expect((await put("x", { "if-match": '"none"' })).status).toBe(404);
      const first = await put("one", { "if-none-match": "*" });
      expect(first.status).toBe(200);
      expect(codeOf(await put("x", { "if-none-match": "*" }))).toEqual([412, "PreconditionFailed"]);
      expect(codeOf(await put("x", { "if-match": '"other"' }))).toEqual([412, "PreconditionFailed"]);
      const second = await put("two", { "if-match": first.headers.get("etag") ?? "" });
      expect(second.status).toBe(200);
      const remove = (etag: string) => ask({ method: "DELETE", path: "/a", headers: { "if-match": etag } });
      expect((await remove(first.headers.get("etag") ?? "")).status).toBe(412);
      expect((await remove(second.headers.get("etag") ?? "")).status).toBe(204);
    });

    test("an upload is told part by part, and completed of just these; again it says the same", async () => {
      const ask = await begin();
      const upload = await begun(ask, "/a");
      const [large, last] = [new Uint8Array(PART_MIN_BYTES).fill(1), Buffer.from("end")];
      await putPart(ask, "/a", upload, 1, Buffer.from("replaced"));
      const parts = [await putPart(ask, "/a", upload, 1, large), await putPart(ask, "/a", upload, 7, last)];
      const list = await ask({ method: "GET", path: `/a?uploadId=${upload}` });
      expect(numbersIn(list)).toEqual([1, 7]);
      for (const bytes of [large, last]) expect(textOf(list)).toContain(base64Of(bytes));
      expect((await ask({ method: "HEAD", path: "/a" })).status).toBe(404);
      const complete = () => completed(ask, "/a", upload, parts, { "if-none-match": "*" });
      const answer = await complete();
      const etag = etagIn(answer);
      expect([answer.status, etag]).toEqual([200, expect.stringMatching(/^"[0-9a-f]{32}-2"$/)]);
      const head = await ask({ method: "HEAD", path: "/a", headers: { "x-amz-checksum-mode": "ENABLED" } });
      expect([head.headers.get("etag"), head.headers.get("content-length")]).toEqual([etag, String(large.length + 3)]);
      const hashes = [large, last].map((bytes) => createHash("sha256").update(bytes).digest());
      expect(head.headers.get("x-amz-checksum-sha256")).toBe(`${base64Of(Buffer.concat(hashes))}-2`);
      const again = await complete();
      expect([again.status, etagIn(again)]).toEqual([200, etag]);
      expect(codeOf(await ask({ method: "GET", path: `/a?uploadId=${upload}` }))).toEqual([404, "NoSuchUpload"]);
    });

    test("an upload is not completed of parts of another state or order, of small ones, or over what must not be replaced", async () => {
      const ask = await begin();
      const upload = await begun(ask, "/a");
      const old = await putPart(ask, "/a", upload, 1, new Uint8Array(PART_MIN_BYTES));
      const parts = [
        await putPart(ask, "/a", upload, 1, new Uint8Array(PART_MIN_BYTES).fill(1)),
        await putPart(ask, "/a", upload, 2, new Uint8Array(PART_MIN_BYTES).fill(2)),
      ] as const;
      const codes = async (named: readonly NamedPart[], headers = {}) =>
        codeOf(await completed(ask, "/a", upload, named, headers));
      expect(await codes([old, parts[1]])).toEqual([400, "InvalidPart"]);
      expect(await codes([parts[0], { ...parts[1], number: 9 }])).toEqual([400, "InvalidPart"]);
      expect(await codes([parts[1], parts[0]])).toEqual([400, "InvalidPartOrder"]);
      await ask({ method: "PUT", path: "/a", body: Buffer.from("theirs") });
      expect(await codes(parts, { "if-none-match": "*" })).toEqual([412, "PreconditionFailed"]);
      expect(await codes(parts, { "if-match": '"other"' })).toEqual([412, "PreconditionFailed"]);
      const small = await begun(ask, "/b");
      const pieces = [
        await putPart(ask, "/b", small, 1, old.bytes.subarray(9)),
        await putPart(ask, "/b", small, 2, old.bytes),
      ];
      expect(codeOf(await completed(ask, "/b", small, pieces))).toEqual([400, "EntityTooSmall"]);
      expect(textOf(await ask({ method: "GET", path: "/a" }))).toBe("theirs");
      // What was refused goes on as it was.
      await ask({ method: "DELETE", path: "/a" });
      expect((await completed(ask, "/a", upload, parts, { "if-none-match": "*" })).status).toBe(200);
    });

    test("parts are copied of a state of an object, as far as it goes, and of no other", async () => {
      const ask = await begin();
      const source = new Uint8Array(PART_MIN_BYTES + 10).fill(3);
      const { headers } = await ask({ method: "PUT", path: "/from", body: source });
      const upload = await begun(ask, "/to", {});
      const copy = (number: number, from: string, range: string, match = headers.get("etag") ?? "") =>
        ask({
          method: "PUT",
          path: `/to?partNumber=${number}&uploadId=${upload}`,
          headers: {
            "x-amz-copy-source": `/bucket${from}`,
            "x-amz-copy-source-if-match": match,
            "x-amz-copy-source-range": `bytes=${range}`,
          },
        });
      const first = await copy(1, "/from", `0-${PART_MIN_BYTES - 1}`);
      expect([first.status, etagIn(first)]).toEqual([200, expect.stringMatching(/^"[0-9a-f]{32}"$/)]);
      const second = await copy(2, "/from", `${PART_MIN_BYTES}-${PART_MIN_BYTES + 9}`);
      expect((await copy(3, "/from", "0-9", '"other"')).status).toBe(412);
      expect(codeOf(await copy(3, "/none", "0-9"))).toEqual([404, "NoSuchKey"]);
      expect((await copy(3, "/from", `0-${PART_MIN_BYTES + 10}`)).status).toBe(400);
      const parts = [first, second].map((answer, k) => ({ number: k + 1, etag: etagIn(answer) }));
      expect((await completed(ask, "/to", upload, parts)).status).toBe(200);
      expect((await ask({ method: "GET", path: "/to" })).body.length).toBe(source.length);
    });

    test("uploads are listed below a prefix, and are known no more once they were given up", async () => {
      const ask = await begin();
      const [a, b] = [await begun(ask, "/x/a"), await begun(ask, "/y/b")];
      await putPart(ask, "/x/a", a, 1, Buffer.from("part"));
      const list = textOf(await ask({ method: "GET", path: "?uploads=&prefix=x%2F" }));
      expect([list.includes(`>${a}<`), list.includes(`>${b}<`)]).toEqual([true, false]);
      expect(Date.parse(/<Initiated>([^<]*)</.exec(list)?.[1] ?? "")).toBeGreaterThan(Date.now() - 3_600_000);
      const abort = () => ask({ method: "DELETE", path: `/x/a?uploadId=${a}` });
      expect((await abort()).status).toBe(204);
      expect(codeOf(await abort())).toEqual([404, "NoSuchUpload"]);
      const part = { method: "PUT", path: `/x/a?partNumber=1&uploadId=${a}`, body: Buffer.from("part") };
      expect(codeOf(await ask(part))).toEqual([404, "NoSuchUpload"]);
      // versitygw looks at the parts first, and says InvalidPart.
      const refused = codeOf(await completed(ask, "/x/a", a, [{ number: 1, etag: '"x"' }]));
      expect([
        [404, "NoSuchUpload"],
        [400, "InvalidPart"],
      ]).toContainEqual(refused);
      expect((await ask({ method: "GET", path: "?uploads=&prefix=x%2F" })).status).toBe(200);
    });

    test("names below a prefix are told level by level", async () => {
      const ask = await begin();
      for (const path of ["/p/a", "/p/b/c", "/p/b/d", "/q"]) await ask({ method: "PUT", path, body: Buffer.from("x") });
      const list = textOf(await ask({ method: "GET", path: "?list-type=2&delimiter=%2F&prefix=p%2F&max-keys=1000" }));
      expect([...list.matchAll(/<Key>([^<]*)</g)].map(([, key]) => key)).toEqual(["p/a"]);
      expect([...list.matchAll(/<CommonPrefixes>\s*<Prefix>([^<]*)</g)].map(([, key]) => key)).toEqual(["p/b/"]);
    });
  });
}

interface NamedPart {
  readonly number: number;
  readonly etag: string;
  readonly sha256?: string;
}

const hashed = { "x-amz-checksum-algorithm": "SHA256" };

async function begun(ask: AskService, path: string, headers: Readonly<Record<string, string>> = hashed) {
  const answer = await ask({ method: "POST", path: `${path}?uploads=`, headers });
  expect(answer.status).toBe(200);
  return /<UploadId>([^<]*)</.exec(textOf(answer))?.[1] ?? "";
}

async function putPart(ask: AskService, path: string, upload: string, number: number, bytes: Uint8Array) {
  const sha256 = base64Of(bytes);
  const headers = { "x-amz-checksum-sha256": sha256 };
  const at = `${path}?partNumber=${number}&uploadId=${upload}`;
  const answer = await ask({ method: "PUT", path: at, body: bytes, headers });
  expect(answer.status).toBe(200);
  return { number, etag: answer.headers.get("etag") ?? "", sha256, bytes };
}

function completed(
  ask: AskService,
  path: string,
  upload: string,
  parts: readonly NamedPart[],
  headers: Readonly<Record<string, string>> = {},
) {
  const lines = parts.map(({ number, etag, sha256 }) => {
    const hash = sha256 === undefined ? "" : `<ChecksumSHA256>${sha256}</ChecksumSHA256>`;
    return `<Part><PartNumber>${number}</PartNumber><ETag>${etag.replaceAll('"', "&quot;")}</ETag>${hash}</Part>`;
  });
  const body = Buffer.from(`<CompleteMultipartUpload>${lines.join("")}</CompleteMultipartUpload>`);
  return ask({ method: "POST", path: `${path}?uploadId=${upload}`, headers, body });
}

function codeOf(answer: Answered): readonly [number, string | undefined] {
  return [answer.status, /<Code>(\w+)<\/Code>/.exec(textOf(answer))?.[1]];
}

function numbersIn(answer: Answered): readonly number[] {
  return [...textOf(answer).matchAll(/<PartNumber>(\d+)</g)].map(([, number]) => Number(number));
}

function etagIn(answer: Answered): string {
  return (/<ETag>([^<]*)</.exec(textOf(answer))?.[1] ?? "").replaceAll(/&(?:quot|#34);/g, '"');
}

function textOf({ body }: Answered): string {
  return Buffer.from(body).toString("utf8");
}

function base64Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64");
}
