/** `deltaworks publish` into a bucket of a real S3 server: by the built command, in a process of its own. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { placeOf, readWhole } from "../../storage/index.ts";
import { contentsOf, sha256 } from "../output/fake-output.ts";
import { HubImitation } from "../support/hub/hub-imitation.ts";
import { S3Server, s3Keys, s3ObjectsOf } from "../support/s3-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { errorOf, MODELS, start } from "./cli-process.ts";

const RECIPE = `merge_method: linear
dtype: float32
models:
  - { model: ${join(MODELS, "tiny-base")}, parameters: { weight: 0.5 } }
  - { model: ${join(MODELS, "tiny-python")}, parameters: { weight: WEIGHT } }
`;

test("a merge is published into a bucket, and again, and another in its place if that is asked for, and from there on the Hub", async () => {
  const folder = temporaryFolder();
  const server = await S3Server.start();
  await server.makeBucket("models");
  const objects = s3ObjectsOf(server.endpoint);
  const environment = {
    AWS_ACCESS_KEY_ID: s3Keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3Keys.secretAccessKey,
    AWS_ENDPOINT_URL_S3: server.endpoint,
  };
  const command = (...args: string[]) => start(args, { environment }).ended;
  const merge = async (name: string, weight: string) => {
    writeFileSync(join(folder, `${name}.yml`), RECIPE.replace("WEIGHT", weight));
    const merged = await command("merge", join(folder, `${name}.yml`), join(folder, name), "--shard-size", "1MiB");
    expect(merged.code, merged.stderr).toBe(0);
    return join(folder, name);
  };
  const [one, two] = [await merge("one", "0.5"), await merge("two", "0.25")];
  const there = async (out: string) => {
    const found: Record<string, string> = {};
    for (const name of Object.keys(contentsOf(out)))
      found[name] = sha256(await readWhole(objects, placeOf(`s3://models/a/b/${name}`), 1e8));
    return found;
  };
  const first = await command("publish", one, "s3://models/a/b");
  expect([first.code, first.stdout, first.stderr]).toEqual([
    0,
    expect.stringMatching(/^done {2}s3:\/\/models\/a\/b {2}[0-9.]+ s\n$/),
    expect.stringMatching(/send .*large files/),
  ]);
  expect(await there(one)).toEqual(contentsOf(one));
  expect(JSON.parse((await command("verify", "s3://models/a/b", "--json")).stdout)).toMatchObject({
    ok: true,
    notes: [],
  });
  const again = await command("publish", one, "s3://models/a/b", "--json");
  expect(again.events).toEqual([expect.objectContaining({ event: "published", wasThere: true })]);

  const refused = await command("publish", two, "s3://models/a/b", "--json");
  expect([refused.code, errorOf(refused)?.code]).toEqual([2, "publish/not-empty"]);
  const replaced = await command("publish", two, "s3://models/a/b", "--overwrite");
  expect(replaced.code, replaced.stderr).toBe(0);
  expect(await there(two)).toEqual(contentsOf(two));
  expect(JSON.parse((await command("verify", "s3://models/a/b", "--json")).stdout)).toMatchObject({
    ok: true,
    notes: [],
  });
  expect(await objects.listUploads(placeOf("s3://models/a/b"))).toEqual([]);

  // From there it goes to the Hub, without a folder between them.
  const hub = await HubImitation.start({ partBytes: 200_000 });
  hub.user("hf_x");
  const ofHub = { ...environment, HF_ENDPOINT: hub.url, HF_TOKEN: "hf_x", HF_HOME: folder, HF_HUB_OFFLINE: "" };
  const onHub = await start(["publish", "s3://models/a/b", "hf://owner/merged"], { environment: ofHub }).ended;
  expect(onHub.code, onHub.stderr).toBe(0);
  const { ".gitattributes": _, ...published } = hub.repositoryOf("owner/merged").contents();
  const hashes = Object.entries(published).map(([name, text]) => [name, sha256(Buffer.from(text, "latin1"))]);
  expect(Object.fromEntries(hashes)).toEqual(contentsOf(two));

  const shard = readdirSync(one).find((name) => name.endsWith(".safetensors")) ?? "";
  const bytes = readFileSync(join(one, shard));
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(join(one, shard), bytes);
  const damaged = await command("publish", one, "s3://models/other");
  expect([damaged.code, damaged.stdout]).toEqual([3, expect.stringContaining(`slice    ${shard}`)]);
  expect(await objects.identity(placeOf("s3://models/other"))).toBeUndefined();
  const title = await command("publish", one, "s3://models/other", "--title", "x", "--json");
  expect([title.code, errorOf(title)?.code]).toEqual([2, "options/value"]);
  const none = await command("publish", two, "s3://none/other", "--json");
  expect([none.code, errorOf(none)?.code]).toEqual([1, "storage/not-found"]);
});
