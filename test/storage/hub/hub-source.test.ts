import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join as joinPath } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { HttpRanges } from "../../../storage/http/http-ranges.ts";
import { HubSource } from "../../../storage/hub/hub-source.ts";
import { FileStore, join, placeOf, readWhole, StorageError } from "../../../storage/index.ts";
import { HubImitation, type HubOptions } from "../../support/hub/hub-imitation.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { bytesOf, sourceContract, textOf } from "../source.contract.ts";

const TOKEN = "hf_canaryOfTheTests";
const WEIGHTS = Buffer.from(Array.from({ length: 5000 }, (_, k) => k % 251));

function sourceOf(hub: HubImitation, environment: Record<string, string> = {}): HubSource {
  return new HubSource({
    http: new HttpRanges({ firstPauseMs: 1, environment: {} }),
    files: new FileStore(),
    environment: { HF_ENDPOINT: hub.url, HOME: temporaryFolder(), ...environment },
  });
}

async function hubWithModel(options: HubOptions = {}) {
  const hub = await HubImitation.start(options);
  hub.user(TOKEN);
  const repository = hub.repository("owner/name");
  const commit = repository.commit({ "config.json": "{}", "model.safetensors": WEIGHTS });
  return { hub, repository, commit, place: placeOf(`hf://owner/name@${commit}/model.safetensors`) };
}

async function range(source: HubSource, place: ReturnType<typeof placeOf>, from: number, length: number) {
  const file = await source.open(place);
  const into = new Uint8Array(length);
  await file.read(from, into);
  await file.close();
  return Buffer.from(into);
}

/** What was asked, without what only counts: "GET /owner/name/resolve/…". */
const asked = (hub: HubImitation, origin: "hub" | "storage") =>
  hub.requests.filter((request) => request.origin === origin).map(({ path, status }) => `${status} ${path}`);

for (const [how, options] of [
  ["in git", {}],
  ["in git, without the Hub's cache", { resolveCache: false }],
  ["in LFS", { largeBytes: -1, xet: false }],
  ["in Xet", { largeBytes: -1, pageEntries: 2 }],
] as const) {
  sourceContract(`the Hub, of files ${how},`, async () => {
    const hub = await HubImitation.start(options);
    const repository = hub.repository("owner/name");
    repository.commit({});
    const folder = placeOf("hf://owner/name@main/own");
    const put = async (place: string, bytes: Uint8Array) =>
      void repository.commit({ [place.slice("hf://owner/name@main/".length)]: bytes });
    return { source: sourceOf(hub), folder, put };
  });
}

test("a branch is resolved to the commit that it is now, and what was resolved stays", async () => {
  const { hub, repository, commit } = await hubWithModel();
  const source = sourceOf(hub);
  const real = await source.realPlace(placeOf("hf://owner/name"));
  expect(real).toBe(`hf://owner/name@${commit}`);
  const moved = repository.commit({ "config.json": '{"moved":true}' });
  repository.commit({ "config.json": '{"asked":true}' }, "refs/pr/7");
  expect(textOf(await readWhole(source, join(real, "config.json"), 100))).toBe("{}");
  expect(await source.realPlace(placeOf("hf://owner/name@main"))).toBe(`hf://owner/name@${moved}`);
  for (const written of ["refs%2Fpr%2F7", "refs/pr/7"]) {
    const config = placeOf(`hf://owner/name@${written}/config.json`);
    expect(textOf(await readWhole(source, config, 100))).toBe('{"asked":true}');
  }
});

test("a large file is asked for once, and its ranges come from the storage, without the token", async () => {
  const { hub, place } = await hubWithModel();
  const source = sourceOf(hub, { HF_TOKEN: TOKEN });
  const files = await Promise.all(Array.from({ length: 8 }, () => source.open(place)));
  await Promise.all(
    files.map(async (file, k) => {
      const into = new Uint8Array(400);
      await file.read(k * 500, into);
      expect(Buffer.from(into)).toEqual(WEIGHTS.subarray(k * 500, k * 500 + 400));
    }),
  );
  expect(asked(hub, "hub")).toEqual([`302 ${placePath(place)}`]);
  expect(asked(hub, "storage")).toHaveLength(8);
  const tokens = (origin: "hub" | "storage") =>
    new Set(hub.requests.filter((request) => request.origin === origin).map(({ token }) => token));
  expect(tokens("hub")).toEqual(new Set([TOKEN]));
  expect(tokens("storage")).toEqual(new Set([undefined]));
});

const placePath = (place: string) => place.replace(/^hf:\/\/([^@]*)@([^/]*)/, "/$1/resolve/$2");

test("an address that is refused is asked for anew, once, however many ranges wait", async () => {
  const { hub, place } = await hubWithModel();
  const source = sourceOf(hub);
  const file = await source.open(place);
  await file.read(0, new Uint8Array(10));
  hub.expireSigned();
  const pieces = await Promise.all(
    Array.from({ length: 6 }, async (_, k) => {
      const into = new Uint8Array(100);
      await file.read(k * 100, into);
      return Buffer.from(into);
    }),
  );
  expect(Buffer.concat(pieces)).toEqual(WEIGHTS.subarray(0, 600));
  expect(asked(hub, "hub")).toHaveLength(2);
});

test("an address is asked for anew before it ends", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  const { hub, place } = await hubWithModel({ signedSeconds: 3600 });
  const file = await sourceOf(hub).open(place);
  const readAfter = async (seconds: number) => {
    vi.setSystemTime(Date.now() + seconds * 1000);
    await file.read(10, new Uint8Array(10));
    return asked(hub, "hub").length;
  };
  expect([await readAfter(0), await readAfter(3500), await readAfter(50), await readAfter(3500)]).toEqual([1, 1, 2, 2]);
  expect(hub.requests.filter(({ status }) => status === 403)).toEqual([]);
});

test("an address that is refused again and again is an error, which shows nothing of it", async () => {
  const { hub, place } = await hubWithModel({ signedSeconds: 0 });
  const failed = await range(sourceOf(hub), place, 0, 10).catch((error: unknown) => error);
  expect(failed).toMatchObject({ code: "storage/denied", message: expect.stringContaining(place) });
  expect(String((failed as Error).message)).not.toContain("X-Amz");
});

test("small files come with their opening, by way of the Hub's cache", async () => {
  const { hub, commit } = await hubWithModel();
  const source = sourceOf(hub, { HF_TOKEN: TOKEN });
  const place = placeOf(`hf://owner/name@${commit}/config.json`);
  expect(textOf(await readWhole(source, place, 100))).toBe("{}");
  expect(asked(hub, "hub").map((line) => line.slice(0, 3))).toEqual(["307", "206"]);
  expect(hub.requests.every(({ token }) => token === TOKEN)).toBe(true);
  expect(await source.identity(place)).toMatchObject({
    sizeBytes: 2,
    version: expect.stringMatching(/^git:[0-9a-f]{40}$/),
  });
});

test("a model that was renamed is read by its old name", async () => {
  const { hub, commit } = await hubWithModel();
  hub.rename("old/name", "owner/name");
  const source = sourceOf(hub);
  const real = await source.realPlace(placeOf("hf://old/name"));
  expect(real).toBe(`hf://old/name@${commit}`);
  expect((await source.list(real)).map(({ name }) => name)).toEqual(["config.json", "model.safetensors"]);
  expect(await range(source, join(real, "model.safetensors"), 5, 10)).toEqual(WEIGHTS.subarray(5, 15));
});

test("the SHA-256 that the Hub gives is told, and whole files are compared with what it says", async () => {
  const { hub, commit, place } = await hubWithModel();
  const source = sourceOf(hub);
  const sha256 = expect.stringMatching(/^[0-9a-f]{64}$/);
  expect(await source.identity(place)).toEqual({ kind: "file", sizeBytes: 5000, sha256, version: expect.anything() });
  expect(await readWhole(source, place, 10_000)).toHaveLength(5000);
  hub.damage("storage");
  await expect(readWhole(source, place, 10_000)).rejects.toMatchObject({ code: "storage/hash", retryable: true });
  hub.damage("hub");
  const small = readWhole(source, placeOf(`hf://owner/name@${commit}/config.json`), 100);
  await expect(small).rejects.toMatchObject({
    code: "storage/hash",
    message: expect.stringContaining("git object id"),
  });
});

test("failures of the Hub that pass are waited for", async () => {
  const { hub, place } = await hubWithModel();
  hub.fail(2);
  expect(await range(sourceOf(hub), place, 0, 10)).toEqual(WEIGHTS.subarray(0, 10));
});

test("a limit of requests is kept to for as long as the Hub says", async () => {
  const { hub, commit } = await hubWithModel();
  hub.limit("api", 1);
  const source = sourceOf(hub);
  const places = Array.from({ length: 5 }, () => source.realPlace(placeOf("hf://owner/name")));
  expect(new Set(await Promise.all(places))).toEqual(new Set([`hf://owner/name@${commit}`]));
  // Whoever came back before it was over would be refused again.
  expect(hub.requests.filter(({ status }) => status === 429)).toHaveLength(5);
});

describe("what the Hub refuses is told apart:", () => {
  async function refused(
    place: string,
    environment: Record<string, string>,
    act = (source: HubSource) => readWhole(source, placeOf(place), 100) as Promise<unknown>,
  ) {
    const { hub } = await hubWithModel();
    hub.user("hf_stranger");
    hub.repository("owner/private", { private: true, members: [TOKEN] }).commit({ "config.json": "{}" });
    hub.repository("owner/gated", { gated: true, members: [TOKEN] }).commit({ "config.json": "{}" });
    try {
      return [await act(sourceOf(hub, environment)), hub] as const;
    } catch (error) {
      expect(error).toBeInstanceOf(StorageError);
      const { code, message, hint } = error as StorageError;
      expect(message).toContain(place);
      expect(`${message} ${hint} ${JSON.stringify(error)}`).not.toMatch(/hf_(?:canary|stranger|wrong)/);
      return [`${code}: ${message}`, hub] as const;
    }
  }

  test.each([
    ["a missing model, without a token", "owner/none", {}, "storage/hub-login", /without a token/],
    ["a missing model, with one", "owner/none", { HF_TOKEN: TOKEN }, "storage/hub-model", /token of HF_TOKEN/],
    ["a private model, without a token", "owner/private", {}, "storage/hub-login", /no model owner/],
    [
      "a private model, of a stranger",
      "owner/private",
      { HF_TOKEN: "hf_stranger" },
      "storage/hub-model",
      /may not see it/,
    ],
    ["a gated model, without a token", "owner/gated", {}, "storage/hub-gated", /no token was sent/],
    [
      "a gated model, of a stranger",
      "owner/gated",
      { HF_TOKEN: "hf_stranger" },
      "storage/hub-gated",
      /HF_TOKEN may not/,
    ],
    ["a wrong token", "owner/name", { HF_TOKEN: "hf_wrong" }, "storage/hub-token", /token of HF_TOKEN/],
    ["a missing revision", "owner/name@none", {}, "storage/hub-revision", /"none"/],
    ["a missing commit", `owner/name@${"f".repeat(40)}`, {}, "storage/hub-revision", /"f+"/],
  ])("%s", async (_what, model, environment, code, message) => {
    const [said] = await refused(`hf://${model}/config.json`, environment as Record<string, string>);
    expect(said).toMatch(`${code}: `);
    expect(said).toMatch(message);
  });

  test("a missing file; and whoever may read reads", async () => {
    expect((await refused("hf://owner/name/none.json", {}))[0]).toMatch(/^storage\/not-found: /);
    for (const model of ["private", "gated"]) {
      const [bytes] = await refused(`hf://owner/${model}/config.json`, { HF_TOKEN: TOKEN });
      expect(textOf(bytes as Uint8Array)).toBe("{}");
    }
  });

  test("a place that is no model's; an endpoint that is none; nothing is asked offline", async () => {
    for (const place of [
      "hf://datasets/owner/name",
      "hf://owner/na me",
      "hf://../x",
      "hf://owner/name@../x",
      "hf://a--b/c",
    ]) {
      const [said, hub] = await refused(place, {});
      expect(said).toMatch("storage/hub-name");
      expect(hub.requests).toEqual([]);
    }
    for (const environment of [{ HF_HUB_OFFLINE: "1" }, { TRANSFORMERS_OFFLINE: "yes" }]) {
      const [said, hub] = await refused("hf://owner/name/config.json", environment);
      expect(said).toMatch("storage/hub-offline");
      expect(hub.requests).toEqual([]);
    }
    const { hub } = await hubWithModel();
    expect(() => sourceOf(hub, { HF_ENDPOINT: "ftp://x" })).toThrow(
      expect.objectContaining({ code: "storage/hub-settings" }),
    );
  });
});

describe("the token", () => {
  /** Which token is sent, in this environment; `files`: in the home folder. */
  async function sent(environment: (home: string) => Record<string, string>, files: Record<string, string> = {}) {
    const { hub } = await hubWithModel();
    for (const token of ["hf_a", "hf_b", "hf_c"]) hub.user(token);
    const home = temporaryFolder();
    for (const [name, text] of Object.entries(files)) writeFileSync(joinPath(home, name), text);
    await sourceOf(hub, { HOME: home, ...environment(home) }).realPlace(placeOf("hf://owner/name"));
    return [...new Set(hub.requests.map(({ token }) => token))];
  }

  test.each<[string, (home: string) => Record<string, string>, Record<string, string>, string | undefined]>([
    ["of HF_TOKEN goes first", (home) => ({ HF_TOKEN: " hf_a\n", HF_HOME: home }), { token: "hf_b" }, "hf_a"],
    ["of HUGGING_FACE_HUB_TOKEN is taken as well", () => ({ HUGGING_FACE_HUB_TOKEN: "hf_a" }), {}, "hf_a"],
    ["of hf auth login is that of HF_HOME", (home) => ({ HF_HOME: home }), { token: "hf_b\r\n" }, "hf_b"],
    ["of HF_TOKEN_PATH", () => ({ HF_TOKEN_PATH: "~/other" }), { other: "hf_c" }, "hf_c"],
    ["of HF_TOKEN_PATH with a variable", () => ({ HF_TOKEN_PATH: "$HOME/other" }), { other: "hf_c" }, "hf_c"],
    ["that is empty is none", (home) => ({ HF_TOKEN: "", HF_HOME: home }), { token: "\n" }, undefined],
    [
      "is sent unasked unless that is forbidden",
      (home) => ({ HF_TOKEN: "hf_a", HF_HOME: home, HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" }),
      { token: "hf_b" },
      undefined,
    ],
  ])("%s", async (_what, environment, files, expected) => {
    expect(await sent(environment, files)).toEqual([expected]);
  });

  test("that cannot be one is refused, and not shown", async () => {
    const { hub } = await hubWithModel();
    const failed = await sourceOf(hub, { HF_TOKEN: "hf_ca\u0001nary" })
      .realPlace(placeOf("hf://owner/name"))
      .catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: "storage/hub-settings", message: expect.not.stringMatching(/nary/) });
  });
});

test("a hundred files of a tree come by pages", async () => {
  const hub = await HubImitation.start({ pageEntries: 7 });
  const names = Array.from({ length: 100 }, (_, k) => `f${String(k).padStart(3, "0")}`);
  hub.repository("owner/name").commit(Object.fromEntries(names.map((name) => [name, bytesOf(name)])));
  const listed = await sourceOf(hub).list(placeOf("hf://owner/name"));
  expect(listed.map(({ name }) => name)).toEqual(names);
});

describe("a server that is no Hub, or no longer itself,", () => {
  /** Asks a server that gives these answers, one after the other, the last one again and again. */
  async function told(
    answers: readonly { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }[],
  ) {
    const tokens: (string | undefined)[] = [];
    const others = createServer((request, response) => {
      tokens.push(request.headers.authorization);
      response.end("[]");
    });
    await once(others.listen(0, "localhost"), "listening");
    const elsewhere = `http://localhost:${(others.address() as AddressInfo).port}`;
    let asked = 0;
    const server = createServer((_request, response) => {
      const { status, headers = {}, body = "" } = answers[Math.min(asked++, answers.length - 1)]!;
      const led = Object.entries(headers).map(([name, value]) => [name, value.replaceAll("ELSEWHERE", elsewhere)]);
      response.writeHead(status, Object.fromEntries(led)).end(body);
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    onTestFinished(() => {
      for (const each of [server, others]) each.close().closeAllConnections();
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const source = sourceOf({ url } as HubImitation, { HF_TOKEN: TOKEN });
    const commit = "a".repeat(40);
    const failures = [];
    for (const act of [
      () => source.realPlace(placeOf("hf://owner/name")),
      () => source.list(placeOf(`hf://owner/name@${commit}`)),
      () => readWhole(source, placeOf(`hf://owner/name@${commit}/f`), 100),
    ]) {
      asked = 0;
      failures.push(
        await act().then(
          () => "given",
          (error: StorageError) => `${error.code} ${error.message}`,
        ),
      );
    }
    expect(failures.join()).not.toContain("canary");
    expect(tokens.filter((token) => token !== undefined)).toEqual([]);
    return failures.map((failure) => failure.split(" ")[0]);
  }
  const network = "storage/network";

  test.each([
    ["a page that a network puts before itself", [{ status: 200, body: "<html>log in</html>" }]],
    ["a redirect to elsewhere", [{ status: 302, headers: { location: "ELSEWHERE/x" } }]],
    ["a redirect to nowhere", [{ status: 302, headers: { location: "http://" } }]],
    ["redirects without an end", [{ status: 307, headers: { location: "/again" } }]],
    ["other JSON", [{ status: 200, body: '{"sha":"main"}' }]],
  ])("is said to be none: %s", async (_what, answers) => {
    expect(await told(answers)).toEqual([network, network, network]);
  });

  test("is not given the token for a next page elsewhere", async () => {
    const answers = [{ status: 200, headers: { link: '<ELSEWHERE/next>; rel="next"' }, body: "[]" }];
    expect((await told(answers))[1]).toBe(network);
  });
});
