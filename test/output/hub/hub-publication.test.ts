import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  FinishedOutput,
  HubPublication,
  type HubPublicationOptions,
  type HubPublicationPorts,
} from "../../../output/index.ts";
import { sumsText } from "../../../output/records/sums.ts";
import { HttpRanges } from "../../../storage/http/http-ranges.ts";
import { HubClient } from "../../../storage/hub/hub-client.ts";
import { HubRepository } from "../../../storage/hub/hub-repository.ts";
import { HubSource } from "../../../storage/hub/hub-source.ts";
import { FileStore, parseHubPlace, placeOf, type StorageError, Stores } from "../../../storage/index.ts";
import { HubImitation, type HubOptions } from "../../support/hub/hub-imitation.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const TOKEN = "hf_canaryOfThePublisher";
const PART_BYTES = 1000;
const CARD = "---\nbase_model:\n- owner/base\n---\n# Merge of `owner/base` and `b`\n";

/** An output of two shards, the first of three parts and a bit, the other of one. */
const OUTPUT = {
  "README.md": CARD,
  SHA256SUMS: "sums\n",
  "config.json": '{"model_type":"llama"}',
  "deltaworks.manifest.json": "{}",
  "empty.txt": "",
  "model-00001-of-00002.safetensors": "0123456789".repeat(310),
  "model-00002-of-00002.safetensors": "abcdefghij".repeat(50),
  "model.safetensors.index.json": '{"weight_map":{}}',
};

const SHARDS = [
  { text: OUTPUT["model-00001-of-00002.safetensors"], parts: 4 },
  { text: OUTPUT["model-00002-of-00002.safetensors"], parts: 1 },
];

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

class Rig {
  readonly hub: HubImitation;
  readonly folder = temporaryFolder();
  /** How long an answer may be waited for that takes no longer than others. */
  headMs = 30_000;
  readonly output: Readonly<Record<string, string>>;

  private constructor(hub: HubImitation, output: Readonly<Record<string, string>>) {
    this.hub = hub;
    this.output = output;
    hub.user(TOKEN);
    for (const [name, text] of Object.entries(output)) writeFileSync(join(this.folder, name), text);
  }

  static async begin(options: HubOptions = {}, output: Readonly<Record<string, string>> = OUTPUT): Promise<Rig> {
    return new Rig(await HubImitation.start({ partBytes: PART_BYTES, ...options }), output);
  }

  async begin(options: Partial<Omit<HubPublicationOptions, "to">> & { to?: string; token?: string } = {}) {
    const { to: text = "hf://owner/name", token = TOKEN, ...more } = options;
    const to = placeOf(text);
    const environment = { HF_ENDPOINT: this.hub.url, HOME: temporaryFolder(), ...(token && { HF_TOKEN: token }) };
    const http = new HttpRanges({ firstPauseMs: 1, environment: {}, deadlines: { headMs: this.headMs } });
    const [files, { id }] = [new FileStore(), parseHubPlace(to)];
    const store = new Stores(files, { hf: async () => new HubSource({ http, files, environment }) });
    const outputFiles = Object.entries(this.output).map(([name, text]) => {
      return { name, sizeBytes: Buffer.byteLength(text), sha256: sha256(text) };
    });
    const output = await FinishedOutput.open(store, placeOf(this.folder), outputFiles);
    return HubPublication.begin(store, new HubRepository(new HubClient(http, files, environment), http, to, id), {
      ...{ output, to, isPullRequest: false, isPublic: false, overwrite: false, ...more },
    });
  }

  async publish(options: Parameters<Rig["begin"]>[0] = {}, ports: HubPublicationPorts = {}) {
    return (await this.begin(options)).send(ports);
  }

  contents(revision = "main"): Record<string, string> {
    const { ".gitattributes": _, ...contents } = this.hub.repositoryOf("owner/name").contents(revision);
    return contents;
  }

  /** How often bytes went to the storage, and came there. */
  sent(): number {
    return this.hub.requests.filter(({ origin, method, status }) => {
      return origin === "storage" && method === "PUT" && status === 200;
    }).length;
  }
}

async function failureOf(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
    return "done";
  } catch (error) {
    const { code, message, hint } = error as StorageError;
    expect(`${message} ${hint} ${JSON.stringify(error)}`).not.toMatch(/hf_canary|X-Amz|Signature/);
    return `${code}: ${message}`;
  }
}

test("a repository is made, private, large files are sent in parts without the token, and one commit has it all", async () => {
  const rig = await Rig.begin();
  const events: unknown[] = [];
  let bytes = 0;
  const published = await rig.publish(
    {},
    {
      made: (url) => events.push(["made", url]),
      sending: (missing) => events.push(missing),
      sent: (more) => {
        bytes += more;
      },
    },
  );
  const repository = rig.hub.repositoryOf("owner/name");
  expect(rig.contents()).toEqual(OUTPUT);
  const commit = repository.at("main");
  expect(commit).toMatchObject({ title: "Merge of owner/base and b" });
  expect(published).toEqual({
    ...{ url: `${rig.hub.url}/owner/name`, commit: commit?.sha, wasThere: false, isPrivate: true },
  });
  expect([repository.private, repository.commits]).toEqual([true, 2]);
  expect(events).toEqual([["made", `${rig.hub.url}/owner/name`], { files: 2, ofFiles: 2, bytes: 3600 }]);
  expect([bytes, rig.sent()]).toEqual([3600, 5]);
  const tokens = rig.hub.requests.filter(({ origin }) => origin === "storage").map(({ token }) => token);
  expect(new Set(tokens)).toEqual(new Set([undefined]));
  expect(rig.hub.requests.find(({ path }) => path.includes("complete_multipart"))?.token).toBeUndefined();
});

test("what is there already is not sent and not committed again", async () => {
  const rig = await Rig.begin();
  const { commit } = await rig.publish();
  const [before, publication] = [rig.hub.requests.length, await rig.begin()];
  expect(publication.isThere).toBe(true);
  expect(await publication.send()).toMatchObject({ commit, wasThere: true });
  expect(rig.hub.requests.slice(before).filter(({ method }) => method !== "GET")).toEqual([]);
});

test("begun again after a failure at any request it ends the same, sends no file twice, and nothing half is ever seen", async () => {
  let failures = 0;
  let made = 0;
  for (let after = 0; ; after++) {
    const rig = await Rig.begin();
    rig.hub.break({ at: /./, after, does: "refuse", status: 400, message: "stop" });
    const failure = await failureOf(() => rig.publish({ isPublic: true }));
    const isMade = rig.hub.has("owner/name");
    const seen = isMade ? rig.contents() : {};
    expect([{}, OUTPUT]).toContainEqual(seen);
    if (isMade && Object.keys(seen).length === 0) expect(rig.hub.repositoryOf("owner/name").private).toBe(true);
    made += isMade ? 1 : 0;
    const whole = isMade ? rig.hub.repositoryOf("owner/name").objects : new Map();
    const missing = SHARDS.filter(({ text }) => !whole.has(sha256(text)));
    const sentBefore = rig.sent();
    rig.hub.mend();
    const { isPrivate } = await rig.publish({ isPublic: true });
    expect([rig.contents(), isPrivate, rig.hub.repositoryOf("owner/name").private]).toEqual([OUTPUT, false, false]);
    expect(rig.hub.repositoryOf("owner/name").commits).toBe(2);
    // Of a file whose parts were not put together all are sent again.
    expect(rig.sent() - sentBefore).toBe(missing.reduce((sum, { parts }) => sum + parts, 0));
    if (failure === "done") break;
    failures++;
  }
  // Before it is made, and afterwards.
  expect([failures - made > 2, made > 12]).toEqual([true, true]);
});

test("an answer that is lost, at any request, does nothing twice", async () => {
  let lost = 0;
  for (let after = 0; ; after++) {
    const rig = await Rig.begin();
    rig.hub.break({ at: /./, after, times: 1, does: "lose" });
    const { isPrivate } = await rig.publish({ isPublic: true });
    expect([rig.contents(), isPrivate, rig.hub.repositoryOf("owner/name").commits]).toEqual([OUTPUT, false, 2]);
    if (rig.hub.requests.length <= after) break;
    lost++;
  }
  expect(lost).toBeGreaterThan(20);
});

test("a part that fails is sent again, alone; of addresses that have ended new ones are asked for", async () => {
  const rig = await Rig.begin();
  let bytes = 0;
  const sent = (more: number) => {
    bytes += more;
  };
  rig.hub.break({ at: /^PUT \/uploads\/part\/\d+\/2$/, times: 2, does: "refuse", status: 500 });
  rig.hub.break({ at: /^PUT \/uploads\/whole/, times: 1, does: "refuse", status: 403 });
  await rig.publish({}, { sent });
  expect([rig.contents(), bytes, rig.sent()]).toEqual([OUTPUT, 3600, 5]);
  const other = await Rig.begin({ signedSeconds: 0 });
  expect(await failureOf(() => other.publish())).toMatch(/^storage\/denied: .*answers 403 to a part of \d+ bytes/);
});

test("a mirror is asked where it passes on the public Hub's addresses; addresses of anybody else's are not trusted", async () => {
  const rig = await Rig.begin({ calledOrigin: "https://huggingface.co" });
  await rig.publish();
  expect(rig.contents()).toEqual(OUTPUT);
  const other = await Rig.begin({ calledOrigin: "https://elsewhere.example", partBytes: 10_000 });
  expect(await failureOf(() => other.publish())).toMatch(/^storage\/network: .*has its check of large files elsewhere/);
});

test("the Hub takes its time to put parts together and to commit, and is not asked twice", async () => {
  const rig = await Rig.begin();
  rig.headMs = 1000;
  const slow = /complete_multipart|\/commit\/|^PUT \/uploads\/whole/;
  rig.hub.break({ at: slow, does: "delay", delayMs: 2500 });
  await rig.publish();
  expect(rig.hub.requests.filter(({ method, path }) => slow.test(`${method} ${path}`))).toHaveLength(3);
  expect(rig.contents()).toEqual(OUTPUT);
});

test("a limit of requests is waited for", async () => {
  const rig = await Rig.begin();
  rig.hub.limit("api", 1);
  await rig.publish();
  expect(rig.contents()).toEqual(OUTPUT);
});

describe("a branch that holds something else", () => {
  const OLD = {
    ...{ "README.md": "# Old", LICENSE: "free", "picture.png": "x", "vocab.json": "not ours" },
    ...{ "model.safetensors": "old weights", "pytorch_model.bin": "older ones" },
  };

  test("is not changed unless it is asked for; then one commit puts the output in its place, and keeps what changes nothing", async () => {
    const rig = await Rig.begin();
    const repository = rig.hub.repository("owner/name", { members: [TOKEN] });
    const before = repository.commit(OLD);
    const failure = await failureOf(() => rig.publish());
    expect(failure).toMatch(/^publish\/not-empty: .*README\.md, model\.safetensors, pytorch_model\.bin/);
    expect(repository.at("main")?.sha).toBe(before);
    expect(rig.sent()).toBe(0);
    await rig.publish({ overwrite: true });
    const { "README.md": _, "model.safetensors": __, "pytorch_model.bin": ___, ...kept } = OLD;
    expect(rig.contents()).toEqual({ ...OUTPUT, ...kept });
    expect([repository.commits, repository.at("main")?.parent]).toEqual([2, before]);
  });

  test("is left alone by a new branch, which begins there, and by a pull request", async () => {
    const rig = await Rig.begin();
    const repository = rig.hub.repository("owner/name", { members: [TOKEN] });
    const before = repository.commit(OLD);
    const branch = await rig.publish({ to: "hf://owner/name@my%2Fmerge" });
    expect(branch.url).toBe(`${rig.hub.url}/owner/name/tree/my%2Fmerge`);
    expect(repository.at("my/merge")?.parent).toBe(before);
    const request = await rig.publish({ isPullRequest: true, title: "Please take it" });
    expect(request.url).toBe(`${rig.hub.url}/owner/name/discussions/1`);
    expect(repository.at("refs/pr/1")).toMatchObject({ title: "Please take it", parent: before });
    for (const ref of ["my/merge", "refs/pr/1"]) {
      expect(Object.keys(rig.contents(ref))).not.toContain("pytorch_model.bin");
      expect(rig.contents(ref)).toMatchObject(OUTPUT);
    }
    expect(repository.at("main")?.sha).toBe(before);
    // Of the second only what is not there was sent: nothing.
    expect(rig.sent()).toBe(5);
  });
});

test("files that an earlier output's records list go with it", async () => {
  const rig = await Rig.begin();
  const repository = rig.hub.repository("owner/name", { members: [TOKEN] });
  const options = { sliceBytes: 1, shardBytes: 1, allowNonfinite: false };
  const old = { tool: "0", plan: "0", seed: "0", options, inputsHashed: false };
  const listed = new Map([["vocab.json", sha256("old")]]);
  const records = { SHA256SUMS: sumsText({ ...old, files: listed }), "deltaworks.manifest.json": "damaged" };
  repository.commit({ ...records, "vocab.json": "old", "notes.txt": "mine" });
  await rig.publish({ overwrite: true });
  expect(rig.contents()).toEqual({ ...OUTPUT, "notes.txt": "mine" });
});

test("a pull request whose answer is lost is not opened twice", async () => {
  const rig = await Rig.begin();
  const repository = rig.hub.repository("owner/name");
  repository.commit({ a: "1" });
  rig.hub.break({ at: /\/commit\//, times: 1, does: "lose" });
  expect(await failureOf(() => rig.publish({ isPullRequest: true }))).toMatch(/^storage\/network: /);
  expect(repository.refs).toEqual(["main", "refs/pr/1"]);
});

test("a commit of somebody else that comes in between is not written over", async () => {
  const rig = await Rig.begin();
  const repository = rig.hub.repository("owner/name");
  repository.commit({ LICENSE: "free" });
  let theirs = "";
  const sending = () => {
    theirs = repository.commit({ "config.json": "theirs" });
  };
  expect(await failureOf(() => rig.publish({}, { sending }))).toMatch(/^storage\/changed: .*meanwhile/);
  expect(repository.at("main")?.sha).toBe(theirs);
});

test("a file that changes after it was verified is not committed", async () => {
  for (const name of ["model-00001-of-00002.safetensors", "config.json"]) {
    const rig = await Rig.begin();
    const publication = await rig.begin();
    writeFileSync(join(rig.folder, name), "x".repeat((OUTPUT as Record<string, string>)[name]!.length));
    expect(await failureOf(() => publication.send())).toMatch(/^storage\/changed: cannot publish .*meanwhile/);
    expect(rig.contents()).toEqual({});
  }
});

describe("everybody", () => {
  test("sees a repository that was made public once the output is in it, and not before", async () => {
    const rig = await Rig.begin();
    let wasPrivate: boolean | undefined;
    const sent = () => {
      wasPrivate = rig.hub.repositoryOf("owner/name").private;
    };
    expect(await rig.publish({ isPublic: true }, { sent })).toMatchObject({ isPrivate: false });
    expect([wasPrivate, rig.hub.repositoryOf("owner/name").private]).toEqual([true, false]);
  });

  test("does not see one whose visibility the token may not change, and the output is in it all the same", async () => {
    const rig = await Rig.begin();
    rig.hub.break({ at: /\/settings$/, does: "refuse", status: 403 });
    const commits: string[] = [];
    const committed = (commit: string) => commits.push(commit);
    const published = await rig.publish({ isPublic: true }, { committed });
    expect([published.isPrivate, rig.contents(), commits]).toEqual([true, OUTPUT, [published.commit]]);
  });

  test("does not see a private repository that held something else", async () => {
    const rig = await Rig.begin();
    rig.hub.repository("owner/name", { private: true, members: [TOKEN] }).commit({ "diary.txt": "secret" });
    expect(await rig.publish({ isPublic: true })).toMatchObject({ isPrivate: true });
  });
});

describe("what is refused:", () => {
  test.each<[string, Parameters<Rig["begin"]>[0], RegExp]>([
    ["no token", { token: "" }, /^storage\/hub-login: .*there is no token/],
    ["a wrong token", { token: "hf_canaryWrong" }, /^storage\/hub-token: /],
    ["a token that may only read", { token: "hf_canaryReader" }, /^storage\/hub-write: .*HF_TOKEN may not write/],
    ["somebody else's name", { to: "hf://strangers/name" }, /^storage\/hub-write: .*under the namespace "strangers"/],
    ["a repository that is not shown", { to: "hf://owner/hidden" }, /^storage\/hub-model: .*may not see it/],
    ["a commit", { to: `hf://owner/name@${"a".repeat(40)}` }, /^publish\/target: .*a commit never changes/],
    ["a folder", { to: "hf://owner/name/below" }, /^publish\/target: .*no folder in it/],
    ["a pull request to nothing", { isPullRequest: true }, /^publish\/target: .*pull request/],
    ["a pull request's ref that is not there", { to: "hf://owner/there@refs/pr/9" }, /^publish\/target: .*refs\/pr\/9/],
  ])("%s", async (_what, options, expected) => {
    const rig = await Rig.begin();
    rig.hub.user("hf_canaryReader", { role: "read" });
    rig.hub.repository("owner/hidden", { private: true }).commit({ a: "1" });
    rig.hub.repository("owner/there").commit({ a: "1" });
    expect(await failureOf(() => rig.publish(options))).toMatch(expected);
    expect(rig.sent()).toBe(0);
  });

  test("a card that the Hub does not take, before anything is made", async () => {
    const rig = await Rig.begin({}, { ...OUTPUT, "README.md": "---\nbase_model:\n- ./x y\n---\n# x\n" });
    expect(await failureOf(() => rig.publish())).toMatch(/^storage\/hub-refused: .*"base_model" with value/);
    expect(rig.hub.has("owner/name")).toBe(false);
  });

  test("no room, by the batch or by what is said of one file", async () => {
    const rig = await Rig.begin();
    const message = "Private repository storage limit reached, please upgrade your plan.";
    rig.hub.break({ at: /objects\/batch/, does: "refuse", status: 403, message });
    expect(await failureOf(() => rig.publish())).toMatch(/^storage\/over-limit: .*storage limit reached/);
    expect(rig.contents()).toEqual({});
    const other = await Rig.begin({ mostBytes: 3000 });
    expect(await failureOf(() => other.publish())).toMatch(
      /^storage\/over-limit: .*3100 bytes are more than may be stored/,
    );
    expect([other.contents(), other.sent()]).toEqual([{}, 0]);
  });

  test("files that a .gitignore there leaves out", async () => {
    const rig = await Rig.begin();
    rig.hub.repository("owner/name").commit({ ".gitignore": "*.log\nconfig.json" });
    expect(await failureOf(() => rig.publish())).toMatch(/^storage\/hub-refused: .*leaves out config\.json/);
  });

  test("everything, where the Hub may not be asked", async () => {
    const rig = await Rig.begin();
    const environment = { HF_ENDPOINT: rig.hub.url, HF_TOKEN: TOKEN, HF_HUB_OFFLINE: "1" };
    const http = new HttpRanges({ environment: {} });
    const client = new HubClient(http, new FileStore(), environment);
    const repository = new HubRepository(client, http, placeOf("hf://owner/name"), "owner/name");
    expect(await failureOf(() => repository.checkToken())).toMatch(/^storage\/hub-offline: /);
    expect(rig.hub.requests).toEqual([]);
  });
});
