import { describe, expect, test } from "vitest";
import { maybeLfsAnswers } from "../../../storage/hub/lfs.ts";

const SHA256 = "a".repeat(64);
const FILE = { sha256: SHA256, sizeBytes: 2500 };
const PART = (number: number) => `https://storage.example/part/${number}?signature`;

/** What is said of the one file. */
const said = (object: object) =>
  maybeLfsAnswers({ objects: [{ oid: SHA256, size: 2500, ...object }] }, [FILE])?.get(SHA256);

const upload = (header: object, more: object = {}) => ({
  actions: { upload: { href: "https://hub.example/complete", header }, ...more },
});

test("a file is there, goes as a whole, in parts, or not at all", () => {
  expect(said({})).toEqual({ kind: "there" });
  expect(said({ actions: {} })).toEqual({ kind: "there" });
  expect(said({ error: { code: 422, message: "too large" } })).toEqual({
    kind: "refused",
    status: 422,
    said: "too large",
  });
  const verify = { href: "https://hub.example/verify" };
  expect(said({ actions: { upload: { href: PART(1) }, verify } })).toEqual({
    kind: "send",
    upload: {
      parts: [{ url: new URL(PART(1)), offsetBytes: 0, sizeBytes: 2500 }],
      complete: undefined,
      verify: new URL(verify.href),
    },
  });
  // Keys in any order; the last part is short.
  const header = { "00003": PART(3), chunk_size: "1000", "00001": PART(1), "00002": PART(2), "X-Other": "x" };
  expect(said(upload(header))).toEqual({
    kind: "send",
    upload: {
      parts: [
        { url: new URL(PART(1)), offsetBytes: 0, sizeBytes: 1000 },
        { url: new URL(PART(2)), offsetBytes: 1000, sizeBytes: 1000 },
        { url: new URL(PART(3)), offsetBytes: 2000, sizeBytes: 500 },
      ],
      complete: new URL("https://hub.example/complete"),
      verify: undefined,
    },
  });
});

test("answers belong to files by their hashes, whatever their order", () => {
  const other = { sha256: "b".repeat(64), sizeBytes: 1 };
  const objects = [{ oid: other.sha256 }, { oid: SHA256, ...upload({}) }];
  const answers = maybeLfsAnswers({ objects }, [FILE, other]);
  expect([answers?.get(SHA256)?.kind, answers?.get(other.sha256)?.kind]).toEqual(["send", "there"]);
});

describe("is no answer:", () => {
  test.each<[string, object]>([
    ["a part too few", upload({ chunk_size: "1000", "00001": PART(1), "00002": PART(2) })],
    ["a part too many", upload({ chunk_size: "2500", "00001": PART(1), "00002": PART(2) })],
    ["a number that is left out", upload({ chunk_size: "1000", "00001": PART(1), "00002": PART(2), "00004": PART(4) })],
    ["parts of no size", upload({ chunk_size: "0", "00001": PART(1) })],
    ["parts of a size that is none", upload({ chunk_size: "many", "00001": PART(1) })],
    ["a part without an address", upload({ chunk_size: "2500", "00001": 7 })],
    ["an address of another kind", { actions: { upload: { href: "file:///etc/passwd" } } }],
    ["a check without an address", { actions: { upload: { href: PART(1) }, verify: {} } }],
    ["another file", { oid: "b".repeat(64) }],
  ])("%s", (_what, object) => {
    expect(said(object)).toBeUndefined();
  });

  test.each([null, [], {}, { objects: "none" }, { objects: [null, 1] }])("%j", (answer) => {
    expect(maybeLfsAnswers(answer, [FILE])).toBeUndefined();
  });
});
