/** What the imitation of the Hub says is what `@huggingface/hub` understands. */
import { createHash } from "node:crypto";
import { downloadFile, fileDownloadInfo, listFiles, modelInfo, pathsInfo, whoAmI } from "@huggingface/hub";
import { expect, test } from "vitest";
import { HubImitation } from "../../support/hub/hub-imitation.ts";

const TOKEN = "hf_canaryOfTheTests";
const WEIGHTS = Buffer.from(Array.from({ length: 5000 }, (_, k) => k % 251));

async function hubWithModel(options: Parameters<typeof HubImitation.start>[0] = {}) {
  const hub = await HubImitation.start(options);
  const repository = hub.repository("owner/name");
  const first = repository.commit({ "config.json": "{}", "model.safetensors": WEIGHTS, "folder/a b+c.txt": "x" });
  return { hub, repository, first, asked: { repo: "owner/name", hubUrl: hub.url } };
}

const md5 = (bytes: Buffer) => createHash("md5").update(bytes).digest("hex");

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

test.each([
  { resolveCache: true, xet: true },
  { resolveCache: false, xet: false },
])("files are listed by pages, described, and read whole or by ranges (%j)", async (options) => {
  const { hub, first, asked } = await hubWithModel({ ...options, pageEntries: 2 });
  expect((await modelInfo({ name: "owner/name", hubUrl: hub.url, additionalFields: ["sha"] })).sha).toBe(first);
  const listed = await all(listFiles({ ...asked, recursive: true }));
  expect(listed.map(({ path, type, size }) => [path, type, size])).toEqual([
    ["folder", "directory", 0],
    ["config.json", "file", 2],
    ["folder/a b+c.txt", "file", 1],
    ["model.safetensors", "file", WEIGHTS.length],
  ]);
  expect(hub.requests.filter(({ path }) => path.includes("/tree/"))).toHaveLength(2);
  const [described] = await pathsInfo({ ...asked, paths: ["model.safetensors", "none"] });
  expect(described).toMatchObject({ size: WEIGHTS.length, lfs: { size: WEIGHTS.length } });
  // The storage has a name of its own for the bytes, which is no hash of them.
  const info = await fileDownloadInfo({ ...asked, path: "model.safetensors" });
  expect([info?.size, info?.etag]).toEqual([WEIGHTS.length, `"${md5(WEIGHTS)}"`]);
  const read = async (path: string, from: number, to: number) => {
    const blob = await downloadFile({ ...asked, path, xet: false });
    return Buffer.from((await blob?.slice(from, to).arrayBuffer()) ?? new ArrayBuffer(0));
  };
  expect(await read("model.safetensors", 1000, 4000)).toEqual(WEIGHTS.subarray(1000, 4000));
  expect((await read("folder/a b+c.txt", 0, 10)).toString()).toBe("x");
  expect(await downloadFile({ ...asked, path: "none", xet: false })).toBeNull();
});

test("a branch moves, and a commit, a tag and a request's ref stay", async () => {
  const { hub, repository, first, asked } = await hubWithModel();
  const second = repository.commit({ "config.json": '{"a":1}' });
  const third = repository.commit({ "config.json": '{"a":2}' }, "refs/pr/1");
  const shaOf = async (revision: string) =>
    (await modelInfo({ name: "owner/name", hubUrl: hub.url, revision, additionalFields: ["sha"] })).sha;
  expect([await shaOf("main"), await shaOf(first), await shaOf("refs/pr/1")]).toEqual([second, first, third]);
  const text = async (revision: string) => (await downloadFile({ ...asked, revision, path: "config.json" }))?.text();
  expect([await text("main"), await text(first), await text("refs/pr/1")]).toEqual(['{"a":1}', "{}", '{"a":2}']);
});

test("the storage refuses tokens, and what has expired", async () => {
  const { hub } = await hubWithModel();
  const signed = async () => {
    const answer = await fetch(`${hub.url}/owner/name/resolve/main/model.safetensors`, { redirect: "manual" });
    expect(answer.status).toBe(302);
    return answer.headers.get("location") ?? "";
  };
  const address = await signed();
  expect(new URL(address).origin).toBe(hub.storageUrl);
  expect((await fetch(address, { headers: { range: "bytes=10-19" } })).status).toBe(206);
  expect((await fetch(address, { headers: { authorization: `Bearer ${TOKEN}` } })).status).toBe(400);
  expect((await fetch(address.replace("/objects/", "/objects/0"))).status).toBe(403);
  hub.expireSigned();
  expect((await fetch(address)).status).toBe(403);
  const short = await hubWithModel({ signedSeconds: 0 });
  const gone = await fetch(`${short.hub.url}/owner/name/resolve/main/model.safetensors`);
  expect(gone.status).toBe(403);
});

test("what is missing, private, gated, of a wrong token and too much are told apart", async () => {
  const { hub } = await hubWithModel();
  hub.user(TOKEN);
  hub.repository("owner/private", { private: true, members: [TOKEN] }).commit({ "config.json": "{}" });
  hub.repository("owner/gated", { gated: true }).commit({ "config.json": "{}" });
  const said = async (path: string, token?: string) => {
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const answer = await fetch(hub.url + path, { headers });
    return [answer.status, answer.headers.get("x-error-code"), answer.headers.get("x-error-message")];
  };
  const unknown = "Invalid username or password.";
  expect(await said("/api/models/owner/none")).toEqual([401, "RepoNotFound", unknown]);
  expect(await said("/api/models/owner/private")).toEqual([401, "RepoNotFound", unknown]);
  expect(await said("/api/models/owner/none", TOKEN)).toEqual([404, "RepoNotFound", "Repository not found"]);
  expect((await said("/api/models/owner/private", TOKEN))[0]).toBe(200);
  expect(await said("/api/models/owner/name", "hf_wrong")).toEqual([
    401,
    null,
    "Invalid credentials in Authorization header",
  ]);
  expect((await said("/api/models/owner/gated"))[0]).toBe(200);
  expect((await said("/owner/gated/resolve/main/config.json")).slice(0, 2)).toEqual([401, "GatedRepo"]);
  expect((await said("/owner/gated/resolve/main/config.json", TOKEN)).slice(0, 2)).toEqual([403, "GatedRepo"]);
  expect((await said("/api/models/owner/name/revision/none")).slice(0, 2)).toEqual([404, "RevisionNotFound"]);
  expect((await said("/owner/name/resolve/main/none")).slice(0, 2)).toEqual([404, "EntryNotFound"]);
  await expect(whoAmI({ accessToken: "hf_wrong", hubUrl: hub.url })).rejects.toMatchObject({ statusCode: 401 });
  expect(await whoAmI({ accessToken: TOKEN, hubUrl: hub.url })).toMatchObject({ type: "user" });
  hub.limit("resolvers", 1);
  const limited = await fetch(`${hub.url}/owner/name/resolve/main/config.json`);
  expect([limited.status, limited.headers.get("ratelimit")]).toEqual([429, '"resolvers";r=0;t=1']);
  expect((await said("/api/models/owner/name"))[0]).toBe(200);
  // What is noted of requests has their tokens, so that tests can look who was given one.
  expect(new Set(hub.requests.map(({ token }) => token))).toEqual(new Set([undefined, TOKEN, "hf_wrong"]));
});

test("who asks for an old name is sent to the new one", async () => {
  const { hub, asked } = await hubWithModel();
  hub.rename("old/name", "owner/name");
  const file = await downloadFile({ ...asked, repo: "old/name", path: "config.json" });
  expect(await file?.text()).toBe("{}");
});
