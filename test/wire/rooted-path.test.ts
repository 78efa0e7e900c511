import { describe, expect, test } from "vitest";
import { parseRoot as parseCoordinators } from "../../service/index.ts";
import { placeOf } from "../../storage/index.ts";
import { isPathBelow, isRootName, maybePlace } from "../../wire/index.ts";
import { parseMountedRoot as parseWorkers } from "../../worker/link/index.ts";

describe("names of roots", () => {
  test.each(["a", "models", "out-2", "a.b_c", "0", "x".repeat(63)])("%s is one, on every side", (name) => {
    expect(isRootName(name)).toBe(true);
    expect(parseCoordinators(`${name}=/x`, placeOf("/"))).toEqual({ name, path: "/x" });
    expect(parseWorkers(`${name}=/x`)).toMatchObject({ name, path: "/x" });
    expect(maybePlace(`${name}:a/b/`)).toEqual({ root: name, path: "a/b" });
  });

  test.each(["", "A", "aB", "-a", ".a", "_a", "a b", "a/b", "ä", "x".repeat(64)])("%j is none, on any side", (name) => {
    expect(isRootName(name)).toBe(false);
    expect(() => parseCoordinators(`${name}=/x`, placeOf("/"))).toThrow(/is no root/);
    expect(() => parseWorkers(`${name}=/x`)).toThrow(/is no root/);
    expect(maybePlace(`${name}:a/b`)).toBeUndefined();
  });
});

test.each(["", "/", "/a", "a//b", "a/", "./a", "a/..", "a/../b", "a\0b"])("%j is no path below a root", (path) => {
  expect(isPathBelow(path)).toBe(false);
});

test("other paths are, whatever is in their names", () => {
  for (const path of ["a", "a/b", "...", "a/..b", "a b", "ä", "a\nb", "a\\b"]) expect(isPathBelow(path)).toBe(true);
});
