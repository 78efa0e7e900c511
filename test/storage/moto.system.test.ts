/** A server of S3 that verifies nothing: what is damaged on its way to it is found by us, or refused. */
import { writeFileSync } from "node:fs";
import { join as joinPath } from "node:path";
import { expect, test } from "vitest";
import { join, type Objects, placeOf, readWhole } from "../../storage/index.ts";
import { MODELS, start } from "../e2e/cli-process.ts";
import { contentsOf, sha256 } from "../output/fake-output.ts";
import { motoServer } from "../support/moto-server.ts";
import { type Asked, faultProxy, type RangeServer } from "../support/range-server.ts";
import { s3Keys, s3ObjectsOf } from "../support/s3-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const OUT = placeOf("s3://out/merged");
const RECIPE = `merge_method: ties
base_model: ${joinPath(MODELS, "tiny-base")}
models:
  - {model: ${joinPath(MODELS, "tiny-python")}, parameters: {weight: 0.5, density: 0.5}}
  - {model: ${joinPath(MODELS, "tiny-prose")}, parameters: {weight: 0.5, density: 0.5}}
dtype: float32
tokenizer_source: base
`;

async function begin() {
  const folder = temporaryFolder();
  const proxy = await faultProxy(await motoServer(["out"]));
  const environment = {
    ...{ AWS_ACCESS_KEY_ID: s3Keys.accessKeyId, AWS_SECRET_ACCESS_KEY: s3Keys.secretAccessKey },
    ...{ AWS_ENDPOINT_URL_S3: proxy.origin, AWS_REGION: "us-east-1", XDG_STATE_HOME: joinPath(folder, "state") },
  };
  const recipe = joinPath(folder, "recipe.yml");
  writeFileSync(recipe, RECIPE);
  const here = joinPath(folder, "here");
  const command = (...args: string[]) => start(args, { environment }).ended;
  expect(await command("merge", recipe, here, "--threads", "1")).toMatchObject({ code: 0 });
  return { proxy, recipe, here, command, objects: s3ObjectsOf(proxy.origin) };
}

/** Alters a byte of what goes there, each time until it has done so as often as is said. */
function damage(proxy: RangeServer, which: (asked: Asked) => boolean, times = 1): () => number {
  let done = 0;
  proxy.faults.push((asked) => {
    if (done >= times || asked.body.length === 0 || !which(asked)) return false;
    done++;
    asked.body[asked.body.length >> 1]! ^= 1;
    return false;
  });
  return () => done;
}

const isPart = ({ method, path }: Asked) => method === "PUT" && path.includes("partNumber=1");

async function below(objects: Objects): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { name } of await objects.list(OUT))
    if (name !== ".deltaworks") found[name] = sha256(await readWhole(objects, join(OUT, name), 1e9));
  return found;
}

/** But for the manifest, and what SHA256SUMS says of it. */
function comparable({ SHA256SUMS: _sums, "deltaworks.manifest.json": _manifest, ...others }: Record<string, string>) {
  return others;
}

test("a slice that is damaged on its way is found when it is read back, and computed anew", async () => {
  const { proxy, recipe, here, command, objects } = await begin();
  const damaged = damage(proxy, isPart);
  const { code, stderr } = await command("merge", recipe, OUT, "--threads", "1");
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.anything() });
  expect(damaged()).toBe(1);
  expect(comparable(await below(objects))).toEqual(comparable(contentsOf(here)));
  expect(await command("verify", OUT)).toMatchObject({ code: 0 });
});

test("its checksums, which are what it was told, seal nothing: --seal read goes on, and finds what was damaged", async () => {
  const { proxy, recipe, here, command, objects } = await begin();
  damage(proxy, isPart);
  const refused = await command("merge", recipe, OUT, "--threads", "1", "--seal", "checksums");
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("storage/no-checksums") });
  expect(await objects.identity(join(OUT, "model.safetensors"))).toBeUndefined();
  expect(await command("merge", recipe, OUT, "--threads", "1")).toMatchObject({ code: 0 });
  expect(comparable(await below(objects))).toEqual(comparable(contentsOf(here)));
});

test("what is published there is read back, and sent again if it was damaged", async () => {
  const { proxy, here, command, objects } = await begin();
  const damaged = damage(proxy, isPart);
  const refused = await command("publish", here, OUT);
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("storage/hash") });
  expect([damaged(), await objects.identity(join(OUT, "model.safetensors"))]).toEqual([1, undefined]);
  expect(await command("publish", here, OUT)).toMatchObject({ code: 0 });
  expect(await below(objects)).toEqual(contentsOf(here));
});

test("a document that is damaged on its way into the stage is not published", async () => {
  const { proxy, recipe, here, command, objects } = await begin();
  damage(proxy, ({ path }) => path.endsWith("stage/tokenizer.json"));
  const refused = await command("merge", recipe, OUT, "--threads", "1");
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("publish/stage-missing") });
  expect(await objects.identity(join(OUT, "model.safetensors"))).toBeUndefined();
  expect(await command("merge", recipe, OUT, "--threads", "1", "--restart")).toMatchObject({ code: 0 });
  expect(comparable(await below(objects))).toEqual(comparable(contentsOf(here)));
});
