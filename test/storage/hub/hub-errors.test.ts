import { expect, test } from "vitest";
import { hubError } from "../../../storage/hub/hub-errors.ts";
import { placeOf } from "../../../storage/index.ts";
import { Secret } from "../../../trust/secrets/index.ts";

const refusedWith = (status: number, said: string) =>
  hubError({
    ...{ action: "commit to", place: placeOf("hf://owner/name"), id: "owner/name", revision: "main" },
    ...{ endpoint: new URL("https://hub.test"), token: { secret: new Secret("hf_canary"), from: "HF_TOKEN" } },
    answer: { status, headers: new Map([["x-error-message", said]]), body: new Uint8Array() },
    isWriting: true,
  });

test.each([
  [
    400,
    "commits need a summary",
    "storage/hub-refused",
    "cannot commit to hf://owner/name: the Hub refuses it (400): commits need a summary",
  ],
  [
    422,
    "no such base",
    "storage/hub-refused",
    "cannot commit to hf://owner/name: the Hub refuses it (422): no such base",
  ],
  [403, "no rights", "storage/hub-write", "the token of HF_TOKEN may not write there: no rights"],
  [403, "private storage limit reached", "storage/over-limit", "hub.test has no room for it"],
  [413, "file too large", "storage/over-limit", "hub.test has no room for it: file too large"],
  [412, "stale", "storage/changed", "somebody committed to it meanwhile"],
])("what is put there and refused with %i, %j, is %s", (status, said, code, message) => {
  const error = refusedWith(status, said);
  expect(error.code).toBe(code);
  expect(error.message).toContain(message);
  expect(`${error.message} ${error.hint}`).not.toContain("hf_canary");
});
