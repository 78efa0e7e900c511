/** A real S3 server behind a proxy of ours that answers as no good server does. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join as joinPath } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { HttpRanges } from "../../storage/http/http-ranges.ts";
import { placeOf, type Readable } from "../../storage/index.ts";
import { S3Buckets } from "../../storage/s3/s3-buckets.ts";
import { S3Objects } from "../../storage/s3/s3-objects.ts";
import { hashesButOfNames, MODELS, start } from "../e2e/cli-process.ts";
import { HOSTILE_OBJECT_BYTES, hostileAnswers } from "../support/hostile-answers.ts";
import { type Fault, faultProxy, type RangeServer, refuse } from "../support/range-server.ts";
import { S3Server, s3Keys } from "../support/s3-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const bytes = Uint8Array.from({ length: HOSTILE_OBJECT_BYTES }, (_, k) => (k * 2654435761) >>> 24);
const place = placeOf("s3://bucket/model.safetensors");

async function begin() {
  const server = await S3Server.start();
  await server.makeBucket("bucket");
  await server.put("bucket/model.safetensors", bytes);
  return faultProxy(server.endpoint);
}

async function opened({ origin }: RangeServer): Promise<Readable> {
  const ranges = new HttpRanges({ firstPauseMs: 1, environment: {}, deadlines: { headMs: 300, stallMs: 300 } });
  onTestFinished(() => ranges.close());
  const settings = {
    ...{ profile: "default", region: "us-east-1", endpoint: new URL(origin), addressing: undefined },
    ...{ requesterPays: false, encryption: undefined, keys: s3Keys, otherWay: undefined },
  };
  return new S3Objects(new S3Buckets(ranges, async () => settings)).open(place, { firstBytes: 10 });
}

test("of a hundred answers that are none each is taken for what it is", { timeout: 120_000 }, async () => {
  const proxy = await begin();
  const found: Record<string, string> = {};
  for (const { title, fault } of hostileAnswers) {
    const file = await opened(proxy);
    const { version } = await file.identity();
    proxy.files.set("/bucket/model.safetensors", { bytes, etag: version });
    proxy.faults.push(fault);
    const into = new Uint8Array(100_000);
    found[title] = await file.read(1000, into).then(
      () => (Buffer.from(into).equals(bytes.subarray(1000, 101_000)) ? "bytes" : "wrong bytes"),
      ({ code }) => String(code),
    );
    proxy.faults.length = 0;
  }
  expect(found).toEqual(Object.fromEntries(hostileAnswers.map(({ title, becomes }) => [title, becomes])));
});

const cut: Fault = (asked, response, held) => {
  const [, first = "", last = ""] = /^bytes=(\d+)-(\d+)$/.exec(asked.range ?? "") ?? [];
  if (held === undefined || first === "") return false;
  const part = held.bytes.subarray(Number(first), Number(last) + 1);
  const head = { "content-range": `bytes ${first}-${last}/${held.bytes.length}`, "content-length": part.length };
  response.writeHead(206, head).write(part.subarray(0, part.length >> 1), () => response.socket?.resetAndDestroy());
  return true;
};
const slowDown = refuse(
  503,
  {},
  "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
);
const passing: readonly Fault[] = [
  cut,
  slowDown,
  refuse(500),
  (_, response) => response.socket?.destroy() !== undefined,
];

test("a merge through answers that are cut, refused and lost has the bytes of a merge of files", {
  timeout: 120_000,
}, async () => {
  const server = await S3Server.start();
  await server.makeBucket("models");
  const proxy = await faultProxy(server.endpoint);
  const names = ["tiny-base", "tiny-python", "tiny-prose"];
  for (const name of names)
    for (const file of readdirSync(joinPath(MODELS, name))) {
      const held = readFileSync(joinPath(MODELS, name, file));
      await server.put(`models/${name}/${file}`, held);
      proxy.files.set(`/models/${name}/${file}`, { bytes: held });
    }
  // Every third answer, one fault after the other.
  let count = 0;
  const met = new Set<number>();
  proxy.faults.push((...question) => {
    if (count++ % 3 !== 2) return false;
    const which = Math.floor(count / 3) % passing.length;
    const isTaken = passing[which]?.(...question) === true;
    if (isTaken) met.add(which);
    return isTaken;
  });
  const folder = temporaryFolder();
  const environment = {
    AWS_ACCESS_KEY_ID: s3Keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3Keys.secretAccessKey,
    AWS_ENDPOINT_URL_S3: proxy.origin,
    AWS_REGION: "us-east-1",
  };
  const merged = async (out: string, at: (name: string) => string) => {
    const recipe = joinPath(folder, `${out}.yml`);
    const models = names
      .slice(1)
      .map((name) => `  - {model: "${at(name)}", parameters: {weight: 0.5, density: 0.5}}\n`);
    writeFileSync(
      recipe,
      `merge_method: ties\nbase_model: "${at("tiny-base")}"\ndtype: bfloat16\nmodels:\n${models.join("")}`,
    );
    const options = ["--cut-embeddings", "--threads", "2", "--slice-size", "200KB"];
    const { code, stderr } = await start(["merge", recipe, joinPath(folder, out), ...options], { environment }).ended;
    expect({ code, stderr }).toMatchObject({ code: 0 });
    return hashesButOfNames(joinPath(folder, out));
  };
  const there = await merged("there", (name) => `s3://models/${name}`);
  expect(there).toEqual(await merged("here", (name) => joinPath(MODELS, name)));
  expect([...met].sort()).toEqual(passing.map((_, k) => k));
});
