import { createHash } from "node:crypto";
import { StorageError } from "../errors.ts";
import { answerError, type HttpAnswer } from "../http/http-errors.ts";
import type { GivenAnswer, HttpQuestion } from "../http/http-ranges.ts";
import type { HttpTarget } from "../http/target.ts";
import { isNotFound } from "../if-there.ts";
import { type Place, placeOf } from "../place.ts";
import type {
  BegunUpload,
  CopiedRange,
  DirectoryEntry,
  FileIdentity,
  Objects,
  PartToPut,
  PutCondition,
  Readable,
  ReadOptions,
  SignedAddress,
  Signing,
  UploadId,
  UploadPart,
  Version,
} from "../port.ts";
import type { AwsSettings } from "./aws-settings.ts";
import { parseS3Place, type S3Buckets, type S3Question } from "./s3-buckets.ts";
import { S3Source } from "./s3-source.ts";
import { encodeKey, encodeName, sha256Hex } from "./sigv4.ts";
import {
  completeText,
  hexFromBase64,
  maybeErrorStatus,
  maybeMade,
  maybePartsPage,
  maybeUploadId,
  maybeUploadsPage,
} from "./upload-answers.ts";

const ANSWER_MAX_BYTES = 4 * 2 ** 20;
/** Of 10,000 parts, or uploads of a bucket: a page holds 1,000. */
const PAGES_MAX = 100;
/** Making one object of its parts takes a store minutes, in which some say nothing. */
const LONG_MS = 10 * 60_000;
/** Parts that were on their way may outlive the end of their upload. */
const ABORTS_MAX = 4;

type Asked = Omit<S3Question, "place" | "bucket" | "key"> &
  Pick<HttpQuestion, "body" | "patienceMs" | "meant"> & { readonly action: string };

/** What an object must be to be the one that was put. */
interface Expected {
  readonly sizeBytes: number;
  /** As the store writes it in its header: base64, of an upload with the number of parts behind it. */
  readonly checksum: string | undefined;
  readonly etag: string | undefined;
}

/**
 * Objects of S3 and of what speaks it, read and written. What is sent is signed with its SHA-256, and the store compares it. An answer from
 * which it is not clear whether something was done (none, 500, a refusal of what was asked before) is settled by a look at what is there.
 */
export class S3Objects implements Objects, Signing {
  readonly #buckets: S3Buckets;
  readonly #source: S3Source;

  constructor(buckets: S3Buckets) {
    this.#buckets = buckets;
    this.#source = new S3Source(buckets);
  }

  open(place: Place, options?: ReadOptions): Promise<Readable> {
    return this.#source.open(place, options);
  }

  identity(place: Place): Promise<FileIdentity | undefined> {
    return this.#source.identity(place);
  }

  list(folder: Place): Promise<readonly DirectoryEntry[]> {
    return this.#source.list(folder);
  }

  realPlace(place: Place): Promise<Place> {
    return this.#source.realPlace(place);
  }

  /** Without keys, as public buckets are read, it is the address itself. */
  async signRead(place: Place, lastsMs: number): Promise<SignedAddress> {
    const question = { method: "GET", place, ...parseS3Place("sign a reading of", place) };
    const signed = await this.#buckets.signed(question, lastsMs);
    if (signed !== undefined) return signed;
    const { url, headers } = await (await this.#buckets.target(question)).address();
    return { url: url.href, headers };
  }

  /** The length and the hash are among the headers that are signed: the store compares both with what comes. */
  async signPart(place: Place, upload: UploadId, part: PartToPut, lastsMs: number): Promise<SignedAddress> {
    const { number, sizeBytes, sha256 } = part;
    const action = `sign part ${number} of`;
    const signed = await this.#buckets.signed(
      {
        ...{ method: "PUT", place, ...parseS3Place(action, place) },
        query: { partNumber: String(number), uploadId: upload },
        headers: { "content-length": String(sizeBytes), "x-amz-checksum-sha256": base64FromHex(sha256) },
      },
      lastsMs,
    );
    if (signed !== undefined) return signed;
    throw new StorageError("storage/denied", `cannot ${action} ${place}: no keys were found to sign it with`, {
      hint: "Give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; see docs/storage.md.",
    });
  }

  async put(place: Place, bytes: Uint8Array, condition?: PutCondition): Promise<Version> {
    const sha256 = sha256Hex(bytes);
    const headers = {
      ...(await this.#encryption()),
      ...conditionHeaders(condition),
      "x-amz-checksum-sha256": base64FromHex(sha256),
    };
    const expected = {
      sizeBytes: bytes.length,
      checksum: base64FromHex(sha256),
      etag: `"${createHash("md5").update(bytes).digest("hex")}"`,
    };
    const asked = { method: "PUT", headers, body: bytes, payloadSha256: sha256, action: "put" } as const;
    return this.#settled(place, expected, condition, async () => {
      const { target, answer } = await this.#ask(place, asked);
      const etag = answer.headers.get("etag");
      if (answer.status === 200 && etag !== undefined) return etag;
      const isOurs = answer.isRepeated && isConditionRefused(answer.status);
      throw await this.#refused(target, answer, "put", condition, isOurs);
    });
  }

  async remove(place: Place, condition: { readonly ifVersion?: Version } = {}): Promise<void> {
    const headers = condition.ifVersion === undefined ? {} : { "if-match": condition.ifVersion };
    const { target, answer } = await this.#ask(place, { method: "DELETE", headers, action: "remove" });
    if (answer.status < 300 || answer.status === 404) return;
    throw await this.#refused(target, answer, "remove", undefined);
  }

  async beginUpload(place: Place, parts: "put" | "copied" = "put"): Promise<UploadId> {
    const headers = {
      ...(await this.#encryption()),
      "content-type": "application/octet-stream",
      ...(parts === "put" ? { "x-amz-checksum-algorithm": "SHA256" } : {}),
    };
    const asked = { method: "POST", query: { uploads: "" }, headers, action: "begin the upload of" } as const;
    const { target, answer } = await this.#ask(place, asked);
    if (answer.status !== 200) throw await this.#refused(target, answer, asked.action, undefined);
    return maybeUploadId(textOf(answer)) ?? notS3(target, asked.action);
  }

  async putPart(
    place: Place,
    upload: UploadId,
    number: number,
    bytes: Uint8Array,
    known?: string,
    parts: "put" | "copied" = "put",
  ): Promise<UploadPart> {
    const sha256 = known ?? sha256Hex(bytes);
    const action = `put part ${number} of`;
    const asked = {
      ...{ method: "PUT", query: { partNumber: String(number), uploadId: upload } },
      // Of an upload without hashes the signature alone has it, which the store compares as well.
      ...{ headers: parts === "put" ? { "x-amz-checksum-sha256": base64FromHex(sha256) } : {} },
      ...{ body: bytes, payloadSha256: sha256, action },
    } as const;
    try {
      const { target, answer } = await this.#ask(place, asked);
      const etag = answer.headers.get("etag");
      if (answer.status === 200 && etag !== undefined)
        return { number, sizeBytes: bytes.length, sha256: parts === "put" ? sha256 : undefined, version: etag };
      throw await this.#refused(target, answer, action, undefined);
    } catch (error) {
      // The store refuses bytes that are not those of their hash, each time again.
      const found = known === undefined || !(error instanceof StorageError) ? sha256 : sha256Hex(bytes);
      if (found === sha256) throw error;
      throw new StorageError(
        "storage/hash",
        `cannot ${action} ${place}: it has SHA-256 ${found}, and should have ${sha256}`,
        {
          hint: "It changed in memory on its way: check this machine's memory.",
          retryable: true,
          cause: error,
        },
      );
    }
  }

  async copyPart(place: Place, upload: UploadId, number: number, from: CopiedRange): Promise<UploadPart> {
    const { offsetBytes, sizeBytes } = from;
    const source = parseS3Place("copy", from.place);
    const action = `copy ${from.place} as part ${number} of`;
    const headers = {
      "x-amz-copy-source": `/${encodeName(source.bucket)}/${encodeKey(source.key)}`,
      "x-amz-copy-source-if-match": from.version,
      "x-amz-copy-source-range": `bytes=${offsetBytes}-${offsetBytes + sizeBytes - 1}`,
    };
    const { target, answer } = await this.#ask(place, {
      ...{ method: "PUT", query: { partNumber: String(number), uploadId: upload }, headers, action },
      ...{ patienceMs: LONG_MS, meant: meantBy("CopyPartResult") },
    });
    if (answer.status !== 200) throw await this.#refused(target, answer, action, undefined);
    const { etag, sha256 } = maybeMade(textOf(answer), "CopyPartResult") ?? notS3(target, action);
    return { number, sizeBytes, sha256: hexFromBase64(sha256), version: etag };
  }

  async listParts(place: Place, upload: UploadId, only?: number): Promise<readonly UploadPart[]> {
    const parts: UploadPart[] = [];
    let next = only === undefined || only === 1 ? undefined : String(only - 1);
    for (let page = 0; page < PAGES_MAX; page++) {
      const marker: Record<string, string> = next === undefined ? {} : { "part-number-marker": next };
      const action = "list the parts of";
      const { target, answer } = await this.#ask(place, {
        ...{
          method: "GET",
          query: { "max-parts": only === undefined ? "1000" : "1", uploadId: upload, ...marker },
          action,
        },
      });
      if (answer.status !== 200) throw await this.#refused(target, answer, action, undefined);
      const found = maybePartsPage(textOf(answer)) ?? notS3(target, action);
      parts.push(...found.parts);
      next = found.next;
      if (next === undefined || only !== undefined) break;
    }
    return parts.sort((a, b) => a.number - b.number);
  }

  async completeUpload(
    place: Place,
    upload: UploadId,
    parts: readonly UploadPart[],
    condition?: PutCondition,
  ): Promise<Version> {
    const body = Buffer.from(completeText(parts));
    const expected = expectedOf(parts);
    const action = "complete the upload of";
    const asked = {
      ...{ method: "POST", query: { uploadId: upload }, body, payloadSha256: sha256Hex(body), action },
      headers: { ...conditionHeaders(condition), "content-type": "application/xml" },
      ...{ patienceMs: LONG_MS, meant: meantBy("CompleteMultipartUploadResult") },
    } as const;
    return this.#settled(place, expected, condition, async () => {
      const { target, answer } = await this.#ask(place, asked);
      if (answer.status === 200)
        return maybeMade(textOf(answer), "CompleteMultipartUploadResult")?.etag ?? notS3(target, action);
      // Said again, some stores know the upload no more, and others see what it made as what must not be replaced.
      const isOurs = answer.status === 404 || isConditionRefused(answer.status);
      throw await this.#refused(target, answer, action, condition, isOurs);
    });
  }

  async partsSha256(place: Place): Promise<string | undefined> {
    const there = await this.#there(place);
    if (there === undefined) {
      throw new StorageError("storage/not-found", `cannot examine ${place}: no object is there`, {
        hint: "Check bucket and prefix.",
      });
    }
    const [, base64, parts] = /^([A-Za-z0-9+/]{43}=)-(\d+)$/.exec(there.checksum ?? "") ?? [];
    return base64 === undefined ? undefined : `${hexFromBase64(base64)}-${parts}`;
  }

  async abortUpload(place: Place, upload: UploadId): Promise<void> {
    const action = "give up the upload of";
    for (let tries = 1; ; tries++) {
      const asked = { method: "DELETE", query: { uploadId: upload }, action } as const;
      const { target, answer } = await this.#ask(place, asked);
      if (answer.status === 404) return;
      if (answer.status >= 300) throw await this.#refused(target, answer, action, undefined);
      try {
        if ((await this.listParts(place, upload)).length === 0 || tries >= ABORTS_MAX) return;
      } catch (error) {
        if (isNotFound(error)) return;
        throw error;
      }
    }
  }

  async listUploads(folder: Place): Promise<readonly BegunUpload[]> {
    const { bucket, key } = parseS3Place("list the uploads below", folder);
    const action = "list the uploads below";
    const prefix = key === "" ? "" : `${key}/`;
    const uploads: BegunUpload[] = [];
    let marker: Readonly<Record<string, string>> = {};
    for (let page = 0; page < PAGES_MAX; page++) {
      const query = { "max-uploads": "1000", prefix, uploads: "", ...marker };
      const { target, answer } = await this.#ask(placeOf(`s3://${bucket}`), { method: "GET", query, action });
      if (answer.status !== 200) throw await this.#refused(target, answer, action, undefined);
      const { uploads: found, next } = maybeUploadsPage(textOf(answer)) ?? notS3(target, action);
      for (const { key: name, upload, begunMs } of found)
        if (name.startsWith(prefix)) uploads.push({ place: placeOf(`s3://${bucket}/${name}`), upload, begunMs });
      if (next === undefined) break;
      marker = { "key-marker": next.key, "upload-id-marker": next.upload };
    }
    return uploads.sort((a, b) => (a.place < b.place ? -1 : 1));
  }

  #ask(
    place: Place,
    { body, patienceMs, meant, action, ...question }: Asked,
  ): Promise<{ readonly target: HttpTarget; readonly answer: GivenAnswer }> {
    return this.#buckets.explained(async () => {
      const target = await this.#buckets.target({ ...question, place, ...parseS3Place(action, place) });
      const answer = await this.#buckets.ranges.request(target, {
        method: question.method as HttpQuestion["method"],
        ...{ limitBytes: ANSWER_MAX_BYTES, redirects: "give", action },
        ...(body === undefined ? {} : { body }),
        ...(patienceMs === undefined ? {} : { patienceMs }),
        ...(meant === undefined ? {} : { meant }),
      });
      if (answer.status === 401 || answer.status === 403)
        throw answerError(target, action, (await target.address()).url, answer);
      return { target, answer };
    });
  }

  /** Does what makes an object; where it stays unclear whether that was done, what is there tells. */
  async #settled(
    place: Place,
    expected: Expected,
    condition: PutCondition | undefined,
    act: () => Promise<Version>,
  ): Promise<Version> {
    try {
      return await act();
    } catch (error) {
      const isUnclear = error instanceof Unsettled || (error instanceof StorageError && error.retryable);
      if (!isUnclear) throw error;
      const reason = error instanceof Unsettled ? error.refusal : error;
      let there: Expected | undefined;
      try {
        there = await this.#there(place);
      } catch {
        throw reason; // nor does the store say what is there
      }
      if (there?.etag !== undefined && isSame(there, expected)) return there.etag;
      if (there !== undefined && condition !== undefined && "ifAbsent" in condition) throw existsError(place, reason);
      throw reason;
    }
  }

  /** Undefined: nothing is there. */
  async #there(place: Place): Promise<Expected | undefined> {
    const headers = { "x-amz-checksum-mode": "ENABLED" };
    const { target, answer } = await this.#ask(place, { method: "HEAD", headers, action: "examine" });
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw await this.#refused(target, answer, "examine", undefined);
    return {
      sizeBytes: Number(answer.headers.get("content-length")),
      checksum: answer.headers.get("x-amz-checksum-sha256"),
      etag: answer.headers.get("etag"),
    };
  }

  /** `isUnclear`: it may be that what was asked has been done. */
  async #refused(
    target: HttpTarget,
    answer: HttpAnswer,
    action: string,
    condition: PutCondition | undefined,
    isUnclear = false,
  ): Promise<Error> {
    const { url } = await target.address();
    const plain = answerError(target, action, url, answer);
    const refusal = meantError(target.place, action, condition, answer, plain);
    return isUnclear ? new Unsettled(refusal) : refusal;
  }

  async #encryption(): Promise<Record<string, string>> {
    return encryptionHeaders(await this.#buckets.settled());
  }
}

/** A refusal that comes too where what was asked for has been done before. */
class Unsettled extends Error {
  readonly refusal: StorageError;

  constructor(refusal: StorageError) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

/** 404: some stores say so of a condition on what is not there. */
function isConditionRefused(status: number): boolean {
  return status === 412 || status === 409;
}

function meantError(
  place: Place,
  action: string,
  condition: PutCondition | undefined,
  { status, body }: HttpAnswer,
  plain: StorageError,
): StorageError {
  const code = /<Code>(\w+)<\/Code>/.exec(Buffer.from(body).toString("utf8"))?.[1];
  if (isConditionRefused(status) && condition !== undefined && "ifAbsent" in condition)
    return existsError(place, plain);
  const isOther =
    isConditionRefused(status) || (code === "NoSuchKey" && condition !== undefined) || code?.startsWith("InvalidPart");
  if (!isOther) return plain;
  return new StorageError("storage/changed", `cannot ${action} ${place}: what is there is not what was known of it`, {
    hint: "Somebody else writes there. Find out who, and run the same command again.",
    cause: plain,
  });
}

function existsError(place: Place, cause: Error): StorageError {
  return new StorageError("storage/exists", `cannot put ${place}: an object is there already`, {
    hint: "It is not replaced: find out whose it is, or choose another prefix.",
    cause,
  });
}

function isSame(there: Expected, expected: Expected): boolean {
  if (there.sizeBytes !== expected.sizeBytes) return false;
  if (there.checksum !== undefined && expected.checksum !== undefined) return there.checksum === expected.checksum;
  return there.etag === expected.etag;
}

/** Of an upload: the hash of the parts' hashes, and how many they are. */
function expectedOf(parts: readonly UploadPart[]): Expected {
  const hashes = parts.map(({ sha256 }) => (sha256 === undefined ? undefined : Buffer.from(sha256, "hex")));
  const md5s = parts.map(({ version }) => /^"([0-9a-f]{32})"$/.exec(version)?.[1]).map((md5) => md5 && hexBytes(md5));
  const isKnown = (hash: Buffer | "" | undefined) => Buffer.isBuffer(hash);
  const all = (list: readonly (Buffer | "" | undefined)[]) => Buffer.concat(list.filter((one) => Buffer.isBuffer(one)));
  return {
    sizeBytes: parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    checksum: hashes.every(isKnown)
      ? `${createHash("sha256").update(all(hashes)).digest("base64")}-${parts.length}`
      : undefined,
    etag: md5s.every(isKnown) ? `"${createHash("md5").update(all(md5s)).digest("hex")}-${parts.length}"` : undefined,
  };
}

function hexBytes(hex: string): Buffer {
  return Buffer.from(hex, "hex");
}

function conditionHeaders(condition: PutCondition | undefined): Record<string, string> {
  if (condition === undefined) return {};
  return "ifAbsent" in condition ? { "if-none-match": "*" } : { "if-match": condition.ifVersion };
}

function encryptionHeaders({ encryption }: AwsSettings): Record<string, string> {
  if (encryption === undefined) return {};
  const { algorithm, keyId } = encryption;
  const key: Record<string, string> =
    keyId === undefined ? {} : { "x-amz-server-side-encryption-aws-kms-key-id": keyId };
  return { "x-amz-server-side-encryption": algorithm, ...key };
}

/** Of calls that answer 200 before they know how they end. @throws where the answer is neither what was asked for nor an error */
function meantBy(name: string): (answer: HttpAnswer) => HttpAnswer {
  return (answer) => {
    if (answer.status !== 200) return answer;
    const text = textOf(answer);
    const status = maybeErrorStatus(text);
    if (status !== undefined) return { ...answer, status };
    if (maybeMade(text, name) === undefined) throw new Error(`the answer holds no ${name} and no error`);
    return answer;
  };
}

function textOf({ body }: HttpAnswer): string {
  return Buffer.from(body).toString("utf8");
}

function notS3({ place }: HttpTarget, action: string): never {
  throw new StorageError("storage/network", `cannot ${action} ${place}: the server does not answer as S3 does`, {
    hint: "Check the endpoint: AWS_ENDPOINT_URL_S3.",
  });
}

function base64FromHex(hex: string): string {
  return Buffer.from(hex, "hex").toString("base64");
}
