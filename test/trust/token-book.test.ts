import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { FileStore, placeOf } from "../../storage/index.ts";
import { Secret, TokenBook, TokenFile, type TrustError } from "../../trust/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const MINUTE_MS = 60_000;
const wish = { role: "worker", ttlMs: 10 * MINUTE_MS } as const;
const KEY = "a".repeat(64);
const OTHER_KEY = "b".repeat(64);

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return (error as TrustError).code;
  }
  return "nothing thrown";
}

describe("a join token", () => {
  test("gives its role to one key; the same key may ask again, another may not", () => {
    const book = new TokenBook();
    const token = book.create(wish, 0);
    expect(book.redeem(token, KEY, 1)).toMatchObject({ role: "worker" });
    expect(book.redeem(token, KEY, 2)).toMatchObject({ role: "worker" });
    expect(codeOf(() => book.redeem(token, OTHER_KEY, 3))).toBe("trust/token-used");
  });

  test("expires at its time, to the millisecond, used or not", () => {
    const book = new TokenBook();
    const [used, unused] = [book.create(wish, 1000), book.create(wish, 1000)];
    expect(book.redeem(used, KEY, 1000 + wish.ttlMs - 1)).toMatchObject({ role: "worker" });
    expect(codeOf(() => book.redeem(unused, KEY, 1000 + wish.ttlMs))).toBe("trust/token-expired");
    expect(codeOf(() => book.redeem(used, KEY, 1000 + wish.ttlMs))).toBe("trust/token-expired");
  });

  test("carries the name that was wished for", () => {
    const book = new TokenBook();
    expect(book.redeem(book.create({ ...wish, name: "gpu-1" }, 0), KEY, 1)).toMatchObject({ name: "gpu-1" });
    expect(book.redeem(book.create(wish, 0), KEY, 1).name).toBeUndefined();
    expect(codeOf(() => book.create({ ...wish, name: "GPU 1" }, 0))).toBe("trust/option");
  });

  test("that was never made, or of which a character is wrong, is not known", () => {
    const book = new TokenBook();
    const text = book.create(wish, 0).reveal();
    const [version, id, secret] = text.split(".");
    const wrong = [
      "",
      text.slice(0, -1),
      `${text}A`,
      `${text}\n`,
      text.toUpperCase(),
      `dw2.${id}.${secret}`,
      `${version}.${"0".repeat(12)}.${secret}`,
      `${version}.${id}.${"A".repeat(43)}`,
      `${version}.${id}.`,
      `${version}.__proto__.${secret}`,
      new TokenBook().create(wish, 0).reveal(),
    ];
    for (const token of wrong)
      expect(
        codeOf(() => book.redeem(new Secret(token), KEY, 1)),
        token,
      ).toBe("trust/token");
    expect(book.redeem(new Secret(text), KEY, 1)).toMatchObject({ role: "worker" });
  });

  test("has 256 random bits and is kept as a hash", () => {
    const book = new TokenBook();
    const token = book.create(wish, 0).reveal();
    const secret = token.split(".")[2]!;
    expect(Buffer.from(secret, "base64url").length).toBe(32);
    expect(book.toText()).not.toContain(secret);
    expect(JSON.stringify(book.records)).not.toContain(Buffer.from(secret, "base64url").toString("hex"));
  });

  test.each([0, -1, Number.NaN, 7 * 86_400_000 + 1, Number.POSITIVE_INFINITY])("cannot live for %d ms", (ttlMs) => {
    expect(codeOf(() => new TokenBook().create({ ...wish, ttlMs }, 0))).toBe("trust/option");
  });

  test("is forgotten a day after its end; until then errors say why it is refused", () => {
    const book = new TokenBook();
    const token = book.create(wish, 0);
    const endMs = wish.ttlMs + 86_400_000;
    book.create(wish, endMs - 1);
    expect(codeOf(() => book.redeem(token, KEY, endMs - 1))).toBe("trust/token-expired");
    book.create(wish, endMs);
    expect(codeOf(() => book.redeem(token, KEY, endMs))).toBe("trust/token");
  });
});

describe("the book on disk", () => {
  const store = new FileStore();

  test("knows its tokens, and which are used, after a restart; only its owner may read it", async () => {
    const path = placeOf(join(temporaryFolder(), "tokens.json"));
    const file = await TokenFile.open(store, path);
    const [used, unused] = [await file.create(wish, 0), await file.create({ ...wish, name: "w" }, 0)];
    await file.redeem(used, KEY, 1);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, "utf8")).not.toContain(used.reveal().split(".")[2]);
    const again = await TokenFile.open(store, path);
    await expect(again.redeem(used, OTHER_KEY, 2)).rejects.toMatchObject({ code: "trust/token-used" });
    expect(await again.redeem(unused, OTHER_KEY, 2)).toMatchObject({ name: "w" });
  });

  test("a token that two keys want at once is given to one", async () => {
    const file = await TokenFile.open(store, placeOf(join(temporaryFolder(), "tokens.json")));
    const token = await file.create(wish, 0);
    const answers = await Promise.allSettled([KEY, OTHER_KEY, "c".repeat(64)].map((key) => file.redeem(token, key, 1)));
    expect(answers.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected"]);
  });

  test("a use that could not be made durable gives nothing, and did not happen", async () => {
    const folder = temporaryFolder();
    const file = await TokenFile.open(store, placeOf(join(folder, "tokens.json")));
    const token = await file.create(wish, 0);
    const { rename } = store;
    store.rename = () => Promise.reject(new Error("the disk is gone"));
    await expect(file.redeem(token, KEY, 1)).rejects.toThrow("the disk is gone");
    store.rename = rename;
    expect(await file.redeem(token, OTHER_KEY, 2)).toMatchObject({ role: "worker" });
  });

  test.each([
    "",
    "{}",
    '{"version":2,"tokens":[]}',
    '{"version":1,"tokens":[{}]}',
    '{"version":1,"tokens":[null]}',
    '{"version":1,"tokens":[{"id":"000000000000","sha256":"00","role":"worker","expiresAtMs":1}]}',
    `{"version":1,"tokens":[{"id":"000000000000","sha256":"${KEY}","role":"worker","expiresAtMs":"1"}]}`,
  ])("%s is no book", async (text) => {
    const path = placeOf(join(temporaryFolder(), "tokens.json"));
    writeFileSync(path, text);
    await expect(TokenFile.open(store, path)).rejects.toMatchObject({ code: "trust/token-book" });
  });
});
