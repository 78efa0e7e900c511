/** A real S3 server, plain and over TLS: its objects are read as the contract says, and merged where they are. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join as joinPath } from "node:path";
import { expect, test } from "vitest";
import { join, placeOf } from "../../storage/index.ts";
import { hashesButOfNames, MODELS, start } from "../e2e/cli-process.ts";
import { S3Server, s3Keys, s3ObjectsOf } from "../support/s3-server.ts";
import { serverCertificateIn } from "../support/server-certificate.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { objectsContract } from "./objects.contract.ts";
import { s3ServiceContract } from "./s3/s3-service.contract.ts";
import { sourceContract } from "./source.contract.ts";

async function begin(isSecure = false) {
  const tls = isSecure ? await serverCertificateIn(temporaryFolder()) : undefined;
  const server = await S3Server.start(tls);
  await server.makeBucket("bucket");
  const put = (place: string, bytes: Uint8Array) => server.put(place.slice("s3://".length), bytes);
  const objects = s3ObjectsOf(server.endpoint, tls?.ca);
  return { source: objects, objects, put, folder: placeOf("s3://bucket/own"), hasLinks: false };
}

sourceContract("versitygw", begin);
objectsContract("versitygw", begin);
objectsContract("versitygw over TLS", () => begin(true));

s3ServiceContract("versitygw", async () => {
  const server = await S3Server.start();
  await server.makeBucket("bucket");
  return async ({ method, path, headers, body }) => {
    const answer = await server.ask(method, `/bucket${path}`, body, headers);
    const { status } = answer;
    return { status, headers: new Map(answer.headers), body: new Uint8Array(await answer.arrayBuffer()) };
  };
});

test("an object that is replaced while it is read is refused by its condition", async () => {
  const { source, folder, put } = await begin();
  const place = join(folder, "model.safetensors");
  await put(place, new Uint8Array(5_000_000).fill(1));
  const file = await source.open(place, { firstBytes: 100 });
  const into = new Uint8Array(1_000_000);
  await file.read(100, into);
  await put(place, new Uint8Array(5_000_000).fill(2));
  await expect(file.read(1_000_100, into)).rejects.toMatchObject({
    code: "storage/changed",
    message: expect.stringContaining(place),
  });
});

test("a wrong key is told from a bucket that is not there", async () => {
  const server = await S3Server.start();
  await server.makeBucket("bucket");
  await server.put("bucket/a", new Uint8Array(1));
  const sourceWith = (secretAccessKey: string) =>
    s3ObjectsOf(server.endpoint, undefined, { ...s3Keys, secretAccessKey });
  await expect(sourceWith("canary").open(placeOf("s3://bucket/a"))).rejects.toMatchObject({
    code: "storage/denied",
    message: expect.stringMatching(/SignatureDoesNotMatch(?!.*canary)/s),
  });
  const none = sourceWith(s3Keys.secretAccessKey).list(placeOf("s3://nobucket/a"));
  await expect(none).rejects.toThrow(/NoSuchBucket/);
});

const NAMES = ["tiny-base", "tiny-python", "tiny-prose"];

const recipeOf = (at: (name: string) => string) => `merge_method: ties
base_model: "${at("tiny-base")}"
models:
  - {model: "${at("tiny-python")}", parameters: {weight: 0.5, density: 0.5}}
  - {model: "${at("tiny-prose")}", parameters: {weight: 0.5, density: 0.5}}
dtype: bfloat16
`;

test.each(["plain", "TLS"])("a merge of models in a bucket has the bytes of the same models here: %s", async (how) => {
  const folder = temporaryFolder();
  const tls = how === "TLS" ? await serverCertificateIn(folder) : undefined;
  const server = await S3Server.start(tls);
  await server.makeBucket("models");
  for (const name of NAMES)
    for (const file of readdirSync(joinPath(MODELS, name)))
      await server.put(`models/a b+c/@1/${name}/${file}`, readFileSync(joinPath(MODELS, name, file)));
  const environment = {
    AWS_ACCESS_KEY_ID: s3Keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3Keys.secretAccessKey,
    AWS_ENDPOINT_URL_S3: server.endpoint,
    ...(tls === undefined ? {} : { NODE_EXTRA_CA_CERTS: tls.ca }),
  };
  const merged = async (out: string, at: (name: string) => string) => {
    const recipe = joinPath(folder, `${out}.yml`);
    writeFileSync(recipe, recipeOf(at));
    const made = joinPath(folder, out);
    const { code, stderr } = await start(["merge", recipe, made, "--cut-embeddings", "--threads", "2"], { environment })
      .ended;
    expect({ code, stderr }).toMatchObject({ code: 0 });
    return hashesButOfNames(made);
  };
  const there = await merged("there", (name) => `s3://models/a%20b%2Bc/%401/${name}`);
  expect(Object.keys(there)).toContain("model.safetensors");
  expect(there).toEqual(await merged("here", (name) => joinPath(MODELS, name)));
});
