/**
 * What the Hub says to who writes to it, by the words of a client: `@huggingface/hub`, Python's huggingface_hub and ours understand the
 * imitation alike.
 */
import { describe, expect, test } from "vitest";
import { HubImitation, type HubOptions } from "../../support/hub/hub-imitation.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

export interface HubWrite {
  readonly id: string;
  readonly title: string;
  readonly files: Readonly<Record<string, string>>;
  readonly deleted?: readonly string[];
  readonly branch?: string;
  readonly parentCommit?: string;
  readonly isPullRequest?: boolean;
}

/** What was refused, and why. */
export type HubRefusal = "token" | "missing" | "denied" | "exists" | "stale" | "other";

/** A client with a token, each call of which gives what it is told, or why it was refused. */
export interface HubWriter {
  create(id: string, isPrivate: boolean): Promise<HubRefusal | undefined>;
  branch(id: string, name: string, from?: string): Promise<HubRefusal | undefined>;
  write(write: HubWrite): Promise<{ readonly commit: string; readonly pullRequest: string | undefined } | HubRefusal>;
}

/** `home`: of the client alone, and empty. */
export type OpenHubWriter = (hubUrl: string, token: string, home: string) => HubWriter;

const TOKEN = "hf_canaryOfTheWriter";
const READER = "hf_canaryOfTheReader";
/** Of a large file that comes in three parts, the last of them short. */
const LARGE = "0123456789".repeat(250);

export function hubWritingContract(name: string, open: OpenHubWriter): void {
  async function hubFor(token: string, options: HubOptions = {}) {
    const hub = await HubImitation.start({ partBytes: 1000, ...options });
    hub.user(TOKEN);
    hub.user(READER, { role: "read" });
    return { hub, writer: open(hub.url, token, temporaryFolder()) };
  }

  describe(`${name}, writing to the Hub:`, () => {
    test("a repository is made once, private or public, below an owner who agrees", async () => {
      const { hub, writer } = await hubFor(TOKEN);
      expect(await writer.create("owner/private", true)).toBeUndefined();
      expect(await writer.create("owner/public", false)).toBeUndefined();
      expect(hub.repositoryOf("owner/private").private).toBe(true);
      expect(hub.repositoryOf("owner/public").private).toBe(false);
      expect(Object.keys(hub.repositoryOf("owner/private").contents())).toEqual([".gitattributes"]);
      expect(await writer.create("owner/private", true)).toBe("exists");
      expect(await writer.create("strangers/name", true)).toBe("denied");
    });

    test.each([
      ["in parts, and asked whether they came whole", {}],
      ["whole", { partBytes: 10_000, verifies: false }],
    ] as const)("files are committed at once, large ones %s", async (_how, options) => {
      const { hub, writer } = await hubFor(TOKEN, options);
      await writer.create("owner/name", true);
      const repository = hub.repositoryOf("owner/name");
      const files = { "config.json": "{}", "model.safetensors": LARGE, "folder/a b+c.txt": "x" };
      const written = await writer.write({ id: "owner/name", title: "All of it", files, deleted: [".gitattributes"] });
      expect(written).toEqual({ commit: repository.at("main")?.sha, pullRequest: undefined });
      expect(repository.contents()).toEqual(files);
      expect(repository.at("main")).toMatchObject({ title: "All of it" });
      const parts = hub.requests.filter(({ origin, method }) => origin === "storage" && method === "PUT");
      expect(parts).toHaveLength("partBytes" in options ? 1 : 3);
      expect(new Set(parts.map(({ token, status }) => `${token} ${status}`))).toEqual(new Set(["undefined 200"]));
    });

    test("a large file that is there is not sent again", async () => {
      const { hub, writer } = await hubFor(TOKEN);
      hub.repository("owner/name", { members: [TOKEN] }).commit({ "a.safetensors": LARGE });
      await writer.write({ id: "owner/name", title: "Twice", files: { "b.safetensors": LARGE } });
      expect(hub.requests.filter(({ origin }) => origin === "storage")).toEqual([]);
      expect(hub.repositoryOf("owner/name").contents()).toEqual({ "a.safetensors": LARGE, "b.safetensors": LARGE });
    });

    test("a commit whose parent is no longer the last is refused", async () => {
      const { hub, writer } = await hubFor(TOKEN);
      const repository = hub.repository("owner/name");
      const parentCommit = repository.commit({ a: "1" });
      repository.commit({ a: "2" });
      const write = { id: "owner/name", title: "Late", files: { a: "3" }, parentCommit };
      expect(await writer.write(write)).toBe("stale");
      expect(repository.contents()).toEqual({ a: "2" });
    });

    test("a branch begins where it is told, is made once, and is written to", async () => {
      const { hub, writer } = await hubFor(TOKEN);
      const repository = hub.repository("owner/name");
      const first = repository.commit({ a: "1" });
      repository.commit({ a: "2" });
      expect(await writer.branch("owner/name", "v2", first)).toBeUndefined();
      expect(await writer.branch("owner/name", "v2")).toBe("exists");
      await writer.write({ id: "owner/name", title: "On it", files: { b: "1" }, branch: "v2", parentCommit: first });
      expect([repository.contents("v2"), repository.contents()]).toEqual([{ a: "1", b: "1" }, { a: "2" }]);
      expect(await writer.write({ id: "owner/name", title: "None", files: { b: "1" }, branch: "v3" })).toBe("missing");
    });

    test("whoever may not write may open a pull request", async () => {
      const { hub, writer } = await hubFor(TOKEN);
      const repository = hub.repository("strangers/name");
      repository.commit({ a: "1" });
      const write = { id: "strangers/name", title: "Please", files: { "b.safetensors": LARGE } };
      expect(await writer.write(write)).toBe("denied");
      const given = await writer.write({ ...write, isPullRequest: true });
      expect(given).toEqual({
        commit: repository.at("refs/pr/1")?.sha,
        pullRequest: `${hub.url}/strangers/name/discussions/1`,
      });
      expect([repository.contents("refs/pr/1"), repository.contents()]).toEqual([
        { a: "1", "b.safetensors": LARGE },
        { a: "1" },
      ]);
    });

    test("a token that is wrong or may only read, and what it may not see, are told apart", async () => {
      const { hub, writer } = await hubFor("hf_wrong");
      hub.repository("owner/name").commit({ a: "1" });
      hub.repository("strangers/private", { private: true }).commit({ a: "1" });
      expect(await writer.create("owner/other", true)).toBe("token");
      const write = { id: "owner/name", title: "No", files: { a: "2" } };
      expect(await writer.write(write)).toBe("token");
      const reader = open(hub.url, READER, temporaryFolder());
      expect([await reader.create("owner/other", true), await reader.write(write)]).toEqual(["denied", "denied"]);
      const other = open(hub.url, TOKEN, temporaryFolder());
      expect(await other.write({ ...write, id: "strangers/private" })).toBe("missing");
      expect(await other.write({ ...write, id: "owner/none" })).toBe("missing");
    });
  });
}
