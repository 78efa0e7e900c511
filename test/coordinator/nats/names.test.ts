import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { natsNames, textOf, tokenOf } from "../../../coordinator/nats/index.ts";

describe("a token of a subject", () => {
  test("gives back any text, and is one token without wildcards", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const token = tokenOf(text);
        expect(token).toMatch(/^[A-Za-z0-9_=-]+$/);
        expect(textOf(token)).toBe(text);
      }),
    );
  });

  test("leaves common names readable", () => {
    expect(tokenOf("s000012")).toBe("s000012");
    expect(tokenOf("a.b *>")).toBe("a=2Eb=20=2A=3E");
    expect(tokenOf("")).toBe("=");
  });
});

test("a prefix names streams, subjects and the inbox; anything that is no token is refused", () => {
  expect(natsNames("team-a")).toEqual({
    prefix: "team-a",
    journalStream: "TEAM-A_JOURNAL",
    jobsStream: "TEAM-A_JOBS",
    recordsStream: "TEAM-A_RECORDS",
    inboxPrefix: "_INBOX_team-a",
  });
  for (const prefix of ["", "a.b", "A", "a*", "1a", "x".repeat(33)]) {
    expect(() => natsNames(prefix)).toThrow(expect.objectContaining({ code: "nats/option" }));
  }
});
