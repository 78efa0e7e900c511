import { createHash, createHmac } from "node:crypto";

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export interface SignedQuestion {
  readonly method: string;
  readonly url: URL;
  /** Names in small letters; all of them are signed. `host` is added. */
  readonly headers: Readonly<Record<string, string>>;
  readonly region: string;
  readonly credentials: AwsCredentials;
  readonly at: Date;
  /** Of the body, hex. Ranges have none; the transport guards what is sent. */
  readonly payloadSha256?: string;
}

const UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD";
const SERVICE = "s3";
const ALGORITHM = "AWS4-HMAC-SHA256";

/**
 * Headers that make a question one of S3: Signature Version 4 (docs.aws.amazon.com, "Authenticating Requests: Using the Authorization
 * Header"). The path is signed as it stands in the URL, which must be encoded by `encodeKey`; `Range` is not signed, so that one signature
 * serves all ranges of an object, for the 15 minutes that the service takes it.
 */
export function signedHeaders(question: SignedQuestion): Record<string, string> {
  const { url, credentials, at, payloadSha256 = UNSIGNED_PAYLOAD } = question;
  const headers: Record<string, string> = {
    ...question.headers,
    host: url.host,
    "x-amz-content-sha256": payloadSha256,
    "x-amz-date": timeText(at),
  };
  if (credentials.sessionToken !== undefined) headers["x-amz-security-token"] = credentials.sessionToken;
  const credential = `${credentials.accessKeyId}/${scopeOf(question)}`;
  const signature = signatureOf(question, url, headers, payloadSha256);
  headers.authorization = `${ALGORITHM} Credential=${credential}, SignedHeaders=${namesOf(headers)}, Signature=${signature}`;
  return headers;
}

/**
 * The same question as an address, which whoever has it may ask, with just these headers, for so many seconds ("Authenticating Requests: Using
 * Query Parameters"). Of a body nothing is signed but what its headers say.
 */
export function signedUrl(question: Omit<SignedQuestion, "payloadSha256">, lastsSeconds: number): URL {
  const { credentials, at } = question;
  const url = new URL(question.url);
  const headers = { ...question.headers, host: url.host };
  const signing: Record<string, string> = {
    "X-Amz-Algorithm": ALGORITHM,
    "X-Amz-Credential": `${credentials.accessKeyId}/${scopeOf(question)}`,
    "X-Amz-Date": timeText(at),
    "X-Amz-Expires": String(lastsSeconds),
    ...(credentials.sessionToken === undefined ? {} : { "X-Amz-Security-Token": credentials.sessionToken }),
    "X-Amz-SignedHeaders": namesOf(headers),
  };
  const pairs = Object.entries(signing).map(([name, value]) => `${name}=${encodeName(value)}`);
  url.search = [...(url.search === "" ? [] : [url.search.slice(1)]), ...pairs].join("&");
  url.search += `&X-Amz-Signature=${signatureOf(question, url, headers, UNSIGNED_PAYLOAD)}`;
  return url;
}

type Signed = Pick<SignedQuestion, "method" | "region" | "credentials" | "at">;

function signatureOf(
  { method, region, credentials, at }: Signed,
  url: URL,
  headers: Readonly<Record<string, string>>,
  payload: string,
): string {
  const canonical = [
    method,
    url.pathname,
    canonicalQuery(url),
    ...Object.keys(headers)
      .sort()
      .map((name) => `${name}:${headers[name]?.trim().replaceAll(/ +/g, " ")}`),
    "",
    namesOf(headers),
    payload,
  ].join("\n");
  const text = `${ALGORITHM}\n${timeText(at)}\n${scopeOf({ region, at })}\n${sha256Hex(canonical)}`;
  const key = [dayText(at), region, SERVICE, "aws4_request"].reduce<string | Buffer>(
    hmac,
    `AWS4${credentials.secretAccessKey}`,
  );
  return createHmac("sha256", key).update(text).digest("hex");
}

function namesOf(headers: Readonly<Record<string, string>>): string {
  return Object.keys(headers).sort().join(";");
}

function scopeOf({ region, at }: Pick<SignedQuestion, "region" | "at">): string {
  return `${dayText(at)}/${region}/${SERVICE}/aws4_request`;
}

function timeText(at: Date): string {
  return at.toISOString().replaceAll(/[-:]|\.\d{3}/g, "");
}

function dayText(at: Date): string {
  return timeText(at).slice(0, 8);
}

/** As the service encodes names before it signs them: all but letters, digits, "-", "_", "." and "~"; "/" where it separates. */
export function encodeKey(key: string): string {
  return key.split("/").map(encodeName).join("/");
}

export function encodeName(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function canonicalQuery({ search }: URL): string {
  const pairs = search
    .slice(1)
    .split("&")
    .filter((pair) => pair !== "")
    .map((pair) => (pair.includes("=") ? pair : `${pair}=`));
  return pairs.sort().join("&");
}

/** In lowercase hex, as requests are signed with. */
export function sha256Hex(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
