import { describe, expect, test } from "vitest";
import { checkServer, isAtLeast } from "../../../coordinator/nats/index.ts";

test.each([
  ["2.9.10", "2.9.10", true],
  ["2.9.9", "2.9.10", false],
  ["2.10.0", "2.9.10", true],
  ["3.0.0", "2.12.7", true],
  ["2.12.7-RC.1", "2.12.7", false],
  ["2.12.8-RC.1", "2.12.7", true],
  ["", "2.9.10", false],
  ["new", "2.9.10", false],
])("version %s is at least %s: %s", (version, floor, expected) => {
  expect(isAtLeast(version, floor)).toBe(expected);
});

describe("a server", () => {
  test("below 2.9.10, or of an unknown version, is refused", () => {
    for (const version of ["2.9.9", ""]) {
      expect(() => checkServer(version, true, "s:1")).toThrow(expect.objectContaining({ code: "nats/too-old" }));
    }
  });

  test("without JetStream is refused", () => {
    expect(() => checkServer("2.15.2", false, "s:1")).toThrow(expect.objectContaining({ code: "nats/no-jetstream" }));
  });

  test("with known faults, or that cannot sync, works with a warning that says so", () => {
    expect(checkServer("2.12.7", true, "s:1")).toEqual([]);
    expect(checkServer("2.12.6", true, "s:1")).toEqual([expect.stringContaining("2.12.7 or later is advised")]);
    expect(checkServer("2.9.25", true, "s:1")).toHaveLength(2);
  });
});
