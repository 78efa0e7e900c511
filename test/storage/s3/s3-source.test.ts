import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join as joinPath } from "node:path";
import { Readable } from "node:stream";
import { expect, onTestFinished, test } from "vitest";
import type { AskingClient } from "../../../storage/http/client.ts";
import { HttpRanges } from "../../../storage/http/http-ranges.ts";
import { FileStore, join, placeOf } from "../../../storage/index.ts";
import { type AwsSettings, readAwsSettings } from "../../../storage/s3/aws-settings.ts";
import type { FindChain } from "../../../storage/s3/credentials.ts";
import { S3Buckets } from "../../../storage/s3/s3-buckets.ts";
import { S3Source } from "../../../storage/s3/s3-source.ts";
import { encodeKey, signedHeaders, signedUrl } from "../../../storage/s3/sigv4.ts";
import { refuse } from "../../support/range-server.ts";
import { isList, refuseWith, s3Imitation } from "../../support/s3-imitation.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { bytesOf, sourceContract } from "../source.contract.ts";

const keys = { accessKeyId: "id", secretAccessKey: "canary" };

async function begin(changes: Partial<AwsSettings> = {}, pageMax = 1000, chain: FindChain = async () => undefined) {
  const server = await s3Imitation(pageMax);
  const ranges = new HttpRanges({ firstPauseMs: 1, environment: {} });
  onTestFinished(() => ranges.close());
  const settings = {
    ...{ profile: "default", region: undefined, endpoint: new URL(server.origin), addressing: undefined },
    ...{ requesterPays: false, encryption: undefined, keys, otherWay: undefined, ...changes },
  };
  const source = new S3Source(new S3Buckets(ranges, async () => settings, chain));
  const put = async (place: string, bytes: Uint8Array | string) =>
    server.put(`/${encodeKey(place.slice("s3://".length))}`, bytes);
  return { server, source, settings, put, folder: placeOf("s3://bucket/own") };
}

const withoutLinks = (pageMax?: number) => async () => ({ ...(await begin({}, pageMax)), hasLinks: false });
sourceContract("an S3 store", withoutLinks());
sourceContract("an S3 store whose pages hold two names", withoutLinks(2));

interface Signatures {
  readonly at: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly cases: readonly {
    readonly method: string;
    readonly url: string;
    readonly key: string;
    readonly region: string;
    readonly sessionToken: string | null;
    readonly headers: Record<string, string>;
    readonly authorization: string;
  }[];
}

const signatures = JSON.parse(readFileSync(joinPath(import.meta.dirname, "signatures.json"), "utf8")) as Signatures;

test("an address that is signed has the signature of Amazon's own example", () => {
  // docs.aws.amazon.com, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
  const url = signedUrl(
    {
      ...{ method: "GET", url: new URL("https://examplebucket.s3.amazonaws.com/test.txt"), headers: {} },
      ...{ region: "us-east-1", at: new Date("2013-05-24T00:00:00Z") },
      credentials: {
        accessKeyId: "AKIAIOSFODNN7EXAMPLE",
        secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
      },
    },
    86_400,
  );
  expect(url.searchParams.get("X-Amz-Signature")).toBe(
    "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
  );
});

test.each(signatures.cases)("what is signed has botocore's signature: $method $url", (signed) => {
  const { method, url, key, region, sessionToken, headers, authorization } = signed;
  const { at, accessKeyId, secretAccessKey } = signatures;
  const credentials = { accessKeyId, secretAccessKey, ...(sessionToken === null ? {} : { sessionToken }) };
  const found = signedHeaders({ method, url: new URL(url), headers, region, credentials, at: new Date(at) });
  expect(found.authorization).toBe(authorization);
  expect(new URL(url).pathname.endsWith(encodeKey(key))).toBe(true);
});

test("ranges of an object are signed once, with its ETag as condition", async () => {
  const { server, source, folder, put } = await begin();
  await put(join(folder, "a"), new Uint8Array(100));
  const file = await source.open(join(folder, "a"));
  for (const at of [10, 20, 30]) await file.read(at, new Uint8Array(10));
  const asked = server.asked.slice(1);
  expect(new Set(asked.map(({ headers }) => headers.authorization)).size).toBe(1);
  expect(asked[0]?.headers).toMatchObject({
    "if-match": server.files.get("/bucket/own/a")?.etag,
    range: "bytes=10-19",
  });
  expect(asked[0]?.headers.authorization).toContain(
    "/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date,",
  );
});

test("keys that are refused are read anew, once, and what was read goes on", async () => {
  const { server, source, settings, folder, put } = await begin();
  await put(join(folder, "a"), new Uint8Array(100));
  const file = await source.open(join(folder, "a"));
  server.faults.unshift(
    (asked, response) =>
      asked.headers.authorization?.includes("=id/") === true && refuseWith(response, 400, "ExpiredToken"),
  );
  await expect(file.read(1, new Uint8Array(10))).rejects.toMatchObject({ code: "storage/denied" });
  Object.assign(settings, { keys: { accessKeyId: "rotated", secretAccessKey: "x" } });
  await file.read(1, new Uint8Array(10));
  expect(server.asked.at(-1)?.headers.authorization).toContain("=rotated/");
});

test("who has no keys asks without, and is told so where that is refused", async () => {
  const { server, source, folder, put } = await begin({ keys: undefined });
  await put(join(folder, "a"), "x");
  await source.open(join(folder, "a"));
  expect(server.asked.at(-1)?.headers.authorization).toBeUndefined();
  server.faults.unshift((_, response) => refuseWith(response, 403, "AccessDenied"));
  await expect(source.open(join(folder, "a"))).rejects.toMatchObject({
    code: "storage/denied",
    hint: expect.stringMatching(/without keys.*roles, SSO.*npm install @aws-sdk\/credential-provider-node/),
  });
});

test("keys that need the chain of AWS are not taken for none where its package is missing", async () => {
  const { source, folder } = await begin({ keys: undefined, otherWay: "sso_session" });
  await expect(source.list(folder)).rejects.toMatchObject({
    code: "storage/denied",
    message: expect.stringContaining("sso_session"),
    hint: expect.stringContaining("@aws-sdk/credential-provider-node"),
  });
});

test("keys of the chain of AWS are had anew before they end", async () => {
  let made = 0;
  const chain: FindChain = async () => async (profile) => ({
    accessKeyId: `${profile}${++made}`,
    secretAccessKey: "x",
    expiration: new Date(Date.now() + (made === 1 ? 60_000 : 3_600_000)),
  });
  const { server, source, folder, put } = await begin({ keys: undefined }, 1000, chain);
  await put(join(folder, "a"), new Uint8Array(10));
  const file = await source.open(join(folder, "a"));
  for (const at of [1, 2]) await file.read(at, new Uint8Array(1));
  const askers = server.asked.map(({ headers }) => /Credential=(\w+)/.exec(headers.authorization ?? "")?.[1]);
  expect(askers).toEqual(["default1", "default2", "default2"]);
});

test("the requester pays where that is said", async () => {
  const { server, source, folder, put } = await begin({ requesterPays: true });
  await put(join(folder, "a"), "x");
  await source.list(folder);
  expect(server.asked.at(-1)?.headers).toMatchObject({ "x-amz-request-payer": "requester" });
  expect(server.asked.at(-1)?.headers.authorization).toContain("x-amz-request-payer,");
});

test("a bucket is part of the host's name where the endpoint has it so", async () => {
  const { server, source, folder } = await begin({
    addressing: "virtual",
    endpoint: new URL("http://s3.invalid:1/base"),
  });
  await expect(source.list(folder)).rejects.toThrow("bucket.s3.invalid:1");
  expect(server.asked).toHaveLength(0);
});

test.each([
  [undefined, "models", undefined, "https://models.s3.eu-north-1.amazonaws.com/own/a"],
  ["us-west-2", "models", "path" as const, "https://s3.eu-north-1.amazonaws.com/models/own/a"],
  // A certificate of *.s3.amazonaws.com holds for no name with dots.
  [undefined, "models.example.org", undefined, "https://s3.eu-north-1.amazonaws.com/models.example.org/own/a"],
])(
  "a bucket at Amazon is asked for in its own region, whatever was set: %s, %s, %s",
  async (region, bucket, addressing, address) => {
    const asked: { readonly method: string; readonly url: string; readonly authorization: string | undefined }[] = [];
    const client: AskingClient = {
      ask: async ({ method, url, headers }) => {
        asked.push({ method, url: url.href, authorization: headers.authorization });
        const isRight = url.host.includes("eu-north-1");
        return {
          status: method === "HEAD" ? 301 : isRight ? 206 : 400,
          headers: new Map([
            ["x-amz-bucket-region", "eu-north-1"],
            ["content-range", "bytes 0-0/1"],
            ["content-length", method === "HEAD" ? "0" : "1"],
            ["etag", '"1"'],
          ]),
          body: Readable.from(method === "HEAD" ? [] : [Buffer.from("x")]) as never,
        };
      },
      close: () => {},
    };
    const ranges = new HttpRanges({ environment: {}, seams: { client, pause: async () => {} } });
    const settings = {
      ...{ profile: "default", region, endpoint: undefined, addressing, requesterPays: false, encryption: undefined },
      ...{ keys, otherWay: undefined },
    };
    const source = new S3Source(
      new S3Buckets(
        ranges,
        async () => settings,
        async () => undefined,
      ),
    );
    for (const name of ["a", "a"]) await source.open(placeOf(`s3://${bucket}/own/${name}`));
    expect(asked.map(({ method }) => method)).toEqual(["HEAD", "GET", "GET"]);
    expect(new URL(asked[0]!.url).host).toContain(region ?? "us-east-1");
    expect(asked.slice(1).map(({ url }) => url)).toEqual([address, address]);
    expect(asked[1]?.authorization).toContain("/eu-north-1/s3/aws4_request");
    expect(asked[0]?.authorization).toBeUndefined();
  },
);

test("what does not answer as S3 does is no bucket without objects", async () => {
  const { server, source, folder } = await begin();
  server.faults.unshift(
    (asked, response) => isList(asked) && refuse(200, {}, "<html></html>")(asked, response, undefined),
  );
  await expect(source.list(folder)).rejects.toMatchObject({
    code: "storage/network",
    hint: expect.stringContaining("endpoint"),
  });
  server.faults.shift();
  server.faults.unshift((asked, response) => isList(asked) && refuseWith(response, 404, "NoSuchBucket"));
  await expect(source.list(folder)).rejects.toThrow(/NoSuchBucket/);
});

test.each(["s3://bucket/a/../b", "s3://bucket/a//b", "s3:///a", "s3://buck et/a"])(
  "%s names no object",
  async (text) => {
    const { server, source } = await begin();
    await expect(source.open(placeOf(text))).rejects.toMatchObject({ code: "storage/not-found" });
    expect(server.asked).toHaveLength(0);
  },
);

test("a folder's own marker is no entry", async () => {
  const { source, folder, put } = await begin();
  await put(`${folder}/`, "");
  await put(join(folder, "a"), bytesOf("x"));
  expect((await source.list(folder)).map(({ name }) => name)).toEqual(["a"]);
});

function settingsIn(files: Readonly<Record<string, string>>, environment: Record<string, string> = {}) {
  const home = temporaryFolder();
  mkdirSync(joinPath(home, ".aws"));
  for (const [name, text] of Object.entries(files)) writeFileSync(joinPath(home, ".aws", name), text);
  return readAwsSettings(new FileStore(), { HOME: home, ...environment });
}

const profiles = {
  credentials:
    "[default]\naws_access_key_id = d\naws_secret_access_key=ds\n\n[ other ]\naws_access_key_id=o\naws_secret_access_key=os\naws_session_token=ot\n",
  config:
    "# all\n[default]\nregion = eu-west-1\n[profile other]\nregion=eu-north-1 ; cold\nendpoint_url = https://minio.test:9000\ns3 =\n  addressing_style = path\n  max_concurrent_requests = 20\n[profile sso]\nsso_session = corp\n",
};

test("keys, region and endpoint are found as AWS's tools find them", async () => {
  expect(await settingsIn({})).toMatchObject({
    keys: undefined,
    region: undefined,
    endpoint: undefined,
    otherWay: undefined,
  });
  expect(await settingsIn(profiles)).toMatchObject({
    keys: { accessKeyId: "d", secretAccessKey: "ds" },
    region: "eu-west-1",
  });
  expect(await settingsIn(profiles, { AWS_PROFILE: "other" })).toMatchObject({
    keys: { accessKeyId: "o", secretAccessKey: "os", sessionToken: "ot" },
    region: "eu-north-1",
    endpoint: new URL("https://minio.test:9000"),
    addressing: "path",
  });
  const environment = {
    AWS_ACCESS_KEY_ID: "e",
    AWS_SECRET_ACCESS_KEY: "es",
    AWS_REGION: "r",
    AWS_ENDPOINT_URL: "http://a",
    AWS_ENDPOINT_URL_S3: "http://b",
  };
  expect(await settingsIn(profiles, environment)).toMatchObject({
    keys: { accessKeyId: "e", secretAccessKey: "es" },
    region: "r",
    endpoint: new URL("http://b"),
  });
  expect((await settingsIn(profiles, { ...environment, AWS_PROFILE: "other" })).keys?.accessKeyId).toBe("e");
  expect(await settingsIn(profiles, { AWS_PROFILE: "sso" })).toMatchObject({
    keys: undefined,
    otherWay: "sso_session",
  });
  expect((await settingsIn({}, { AWS_WEB_IDENTITY_TOKEN_FILE: "/t" })).otherWay).toBe("AWS_WEB_IDENTITY_TOKEN_FILE");
});

test("a profile that is not there, and an endpoint that is none, are said, without what they hold", async () => {
  await expect(settingsIn(profiles, { AWS_PROFILE: "none" })).rejects.toMatchObject({ code: "storage/denied" });
  const wrong = settingsIn({}, { AWS_ENDPOINT_URL: "https://me:canary@host" });
  await expect(wrong).rejects.toMatchObject({ code: "storage/network" });
  await expect(wrong).rejects.not.toThrow("canary");
});

test("how what is written is encrypted is set by what deltaworks reads, and by nothing that makes no sense", async () => {
  expect((await settingsIn({})).encryption).toBeUndefined();
  expect((await settingsIn({}, { DELTAWORKS_S3_SSE: "AES256" })).encryption).toEqual({ algorithm: "AES256" });
  expect((await settingsIn({}, { DELTAWORKS_S3_SSE_KMS_KEY_ID: "key" })).encryption).toEqual({
    ...{ algorithm: "aws:kms", keyId: "key" },
  });
  for (const wrong of [
    { DELTAWORKS_S3_SSE: "rot13" },
    { DELTAWORKS_S3_SSE: "AES256", DELTAWORKS_S3_SSE_KMS_KEY_ID: "key" },
  ])
    await expect(settingsIn({}, wrong)).rejects.toMatchObject({ code: "storage/denied" });
});
