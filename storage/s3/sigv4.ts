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

/**
 * Headers that make a question one of S3: Signature Version 4 (docs.aws.amazon.com, "Authenticating Requests: Using the Authorization
 * Header"). The path is signed as it stands in the URL, which must be encoded by `encodeKey`; `Range` is not signed, so that one signature
 * serves all ranges of an object, for the 15 minutes that the service takes it.
 */
export function signedHeaders(question: SignedQuestion): Record<string, string> {
  const { method, url, region, credentials, at, payloadSha256 = UNSIGNED_PAYLOAD } = question;
  const time = at.toISOString().replaceAll(/[-:]|\.\d{3}/g, "");
  const day = time.slice(0, 8);
  const scope = `${day}/${region}/${SERVICE}/aws4_request`;
  const headers: Record<string, string> = {
    ...question.headers,
    host: url.host,
    "x-amz-content-sha256": payloadSha256,
    "x-amz-date": time,
  };
  if (credentials.sessionToken !== undefined) headers["x-amz-security-token"] = credentials.sessionToken;
  const names = Object.keys(headers).sort();
  const canonical = [
    method,
    url.pathname,
    canonicalQuery(url),
    ...names.map((name) => `${name}:${headers[name]?.trim().replaceAll(/ +/g, " ")}`),
    "",
    names.join(";"),
    payloadSha256,
  ].join("\n");
  const text = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${sha256Hex(canonical)}`;
  const key = [day, region, SERVICE, "aws4_request"].reduce<string | Buffer>(
    hmac,
    `AWS4${credentials.secretAccessKey}`,
  );
  const signature = createHmac("sha256", key).update(text).digest("hex");
  const credential = `${credentials.accessKeyId}/${scope}`;
  headers.authorization = `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
  return headers;
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
