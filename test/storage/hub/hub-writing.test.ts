/** What the imitation of the Hub says to who writes is what `@huggingface/hub` understands; and what is ours. */
import { createHash } from "node:crypto";
import { commit, createBranch, createRepo, HubApiError } from "@huggingface/hub";
import { expect, test } from "vitest";
import { HttpRanges } from "../../../storage/http/http-ranges.ts";
import { HubClient } from "../../../storage/hub/hub-client.ts";
import { HubRepository } from "../../../storage/hub/hub-repository.ts";
import { FileStore, placeOf, StorageError } from "../../../storage/index.ts";
import { HubImitation } from "../../support/hub/hub-imitation.ts";
import { type HubRefusal, hubWritingContract } from "./hub-writing.contract.ts";

const refusals: Readonly<Record<number, HubRefusal>> = {
  ...{ 401: "token", 403: "denied", 404: "missing", 409: "exists", 412: "stale" },
};

async function refusalOf(act: () => Promise<unknown>): Promise<HubRefusal | undefined> {
  try {
    await act();
    return undefined;
  } catch (error) {
    if (error instanceof HubApiError) return refusals[error.statusCode] ?? "other";
    throw error;
  }
}

hubWritingContract("@huggingface/hub", (hubUrl, accessToken) => ({
  create: (repo, isPrivate) =>
    refusalOf(() => createRepo({ repo, visibility: isPrivate ? "private" : "public", hubUrl, accessToken })),
  branch: (repo, branch, revision) =>
    refusalOf(() => createBranch({ repo, branch, ...(revision && { revision }), hubUrl, accessToken })),
  write: async ({ id, title, files, deleted = [], branch, parentCommit, isPullRequest }) => {
    let given: Awaited<ReturnType<typeof commit>> | undefined;
    const refusal = await refusalOf(async () => {
      given = await commit({
        ...{ repo: id, title, hubUrl, accessToken, useXet: false },
        ...{
          ...(branch && { branch }),
          ...(parentCommit && { parentCommit }),
          ...(isPullRequest && { isPullRequest }),
        },
        operations: [
          ...Object.entries(files).map(([path, text]) => {
            return { operation: "addOrUpdate", path, content: new Blob([text]) } as const;
          }),
          ...deleted.map((path) => ({ operation: "delete", path }) as const),
        ],
      });
    });
    if (refusal !== undefined || given === undefined) return refusal ?? "other";
    return { commit: given.commit.oid, pullRequest: given.pullRequestUrl };
  },
}));

const ownRefusals: Readonly<Record<string, HubRefusal>> = {
  ...{ "storage/hub-token": "token", "storage/hub-write": "denied", "storage/hub-model": "missing" },
  ...{ "storage/hub-revision": "missing", "storage/changed": "stale" },
};

async function ownRefusalOf<R>(act: () => Promise<R>): Promise<R | HubRefusal> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof StorageError) return ownRefusals[error.code] ?? "other";
    throw error;
  }
}

hubWritingContract("deltaworks", (hubUrl, token, home) => {
  const http = new HttpRanges({ firstPauseMs: 1, environment: {} });
  const client = new HubClient(http, new FileStore(), { HF_ENDPOINT: hubUrl, HF_TOKEN: token, HOME: home });
  const repositoryOf = (id: string) => new HubRepository(client, http, placeOf(`hf://${id}`), id);
  return {
    create: (id, isPrivate) =>
      ownRefusalOf(async () => {
        if (!(await repositoryOf(id).create())) return "exists";
        if (!isPrivate) await repositoryOf(id).makePublic();
        return undefined;
      }),
    branch: (id, name, from = "main") =>
      ownRefusalOf(async () => ((await repositoryOf(id).makeBranch(name, from)) ? undefined : "exists")),
    write: ({ id, title, files, deleted = [], branch = "main", parentCommit, isPullRequest = false }) =>
      ownRefusalOf(async () => {
        const repository = repositoryOf(id);
        const bytes = new Map(Object.entries(files).map(([path, text]) => [path, Buffer.from(text)]));
        const candidates = [...bytes].map(([path, each]) => {
          return { path, sizeBytes: each.length, sample: each.subarray(0, 512) };
        });
        const large = await repository.largePaths(candidates, branch, isPullRequest);
        const head = await repository.head(branch);
        if (typeof head === "string") return "missing";
        const largeFiles = new Map(
          [...bytes].flatMap(([path, each]) => {
            const sha256 = createHash("sha256").update(each).digest("hex");
            return large.has(path) ? [[path, { sha256, sizeBytes: each.length }] as const] : [];
          }),
        );
        const ref = isPullRequest ? undefined : branch;
        for (const [path, file] of largeFiles) {
          await repository.large.send(file, ref, async function* (offsetBytes, sizeBytes) {
            yield bytes.get(path)!.subarray(offsetBytes, offsetBytes + sizeBytes);
          });
        }
        const smallFiles = new Map([...bytes].filter(([path]) => !large.has(path)));
        const commit = { title, branch, parent: parentCommit ?? head.commit, deletedPaths: deleted, isPullRequest };
        return repository.commit({ ...commit, smallFiles, largeFiles });
      }),
  };
});

/** Asks as a client would that has a fault of its own. */
async function ask(hub: HubImitation, method: string, url: string, body: string | object) {
  const isOfHub = url.startsWith("/");
  const answer = await fetch(isOfHub ? hub.url + url : url, {
    ...{ method, body: typeof body === "string" ? body : JSON.stringify(body) },
    headers: isOfHub ? { authorization: "Bearer hf_canary" } : {},
  });
  return { status: answer.status, text: await answer.text(), etag: answer.headers.get("etag") };
}

test("bytes that are others than was said, parts that are missing, and pointers to nothing are refused", async () => {
  const hub = await HubImitation.start({ partBytes: 4 });
  hub.user("hf_canary");
  hub.repository("owner/name").commit({ a: "1" });
  const oid = "a".repeat(64);
  const batch = async (size: number) => {
    const objects = [{ oid, size }];
    const { text } = await ask(hub, "POST", "/owner/name.git/info/lfs/objects/batch", {
      ...{ operation: "upload", transfers: ["basic", "multipart"], objects },
    });
    return JSON.parse(text).objects[0].actions.upload as { href: string; header?: Record<string, string> };
  };
  const whole = await batch(3);
  expect((await ask(hub, "PUT", whole.href, "abc")).status).toBe(400);
  const { href, header = {} } = await batch(6);
  expect(Object.keys(header).toSorted()).toEqual(["00001", "00002", "chunk_size"]);
  const first = await ask(hub, "PUT", header["00001"] ?? "", "abcd");
  const completed = (parts: object[]) => ask(hub, "POST", href.slice(hub.url.length), { oid, parts });
  const part = (partNumber: number, etag: string | null) => ({ partNumber, etag });
  expect((await completed([part(1, first.etag), part(2, "x")])).text).toContain("InvalidPart");
  const second = await ask(hub, "PUT", header["00002"] ?? "", "ef");
  expect((await completed([part(1, first.etag), part(2, second.etag)])).text).toContain("SHA-256");
  expect((await ask(hub, "POST", href.slice(hub.url.length).slice(0, -1), { oid, parts: [] })).status).toBe(403);
  const lines = [
    { key: "header", value: { summary: "x" } },
    { key: "lfsFile", value: { path: "b.safetensors", algo: "sha256", size: 3, oid } },
  ];
  const body = lines.map((line) => JSON.stringify(line)).join("\n");
  const refused = await ask(hub, "POST", "/api/models/owner/name/commit/main", body);
  expect([refused.status, refused.text]).toEqual([400, expect.stringContaining("b.safetensors")]);
  hub.expireSigned();
  expect((await ask(hub, "PUT", header["00001"] ?? "", "abcd")).status).toBe(403);
});

test("a card that names something else than a model is refused", async () => {
  const hub = await HubImitation.start();
  hub.user("hf_canary");
  const said = async (base: string) =>
    (await ask(hub, "POST", "/api/validate-yaml", { repoType: "model", content: `---\nbase_model:\n- ${base}\n---\n` }))
      .status;
  expect([await said("owner/name"), await said("gpt2"), await said("./folder/x")]).toEqual([200, 200, 400]);
});
