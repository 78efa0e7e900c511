import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkpointCodes } from "../../checkpoint/index.ts";
import { storageCodes } from "../../storage/index.ts";

// Behaviour behind each code is held by the test that names it; this one sees that there is such a test, and such a throw.
test.each([
  { room: "checkpoint", codes: checkpointCodes },
  { room: "storage", codes: storageCodes },
])("every code of $room is thrown somewhere and has a test", ({ room, codes }) => {
  const source = textOf(room, "errors.ts") + (room === "storage" ? readFileSync("storage/errors.ts", "utf8") : "");
  const tests = textOf(join("test", room), "errors.test.ts");
  expect(codes.filter((code) => !source.includes(`"${code}"`))).toEqual([]);
  expect(codes.filter((code) => !tests.includes(`"${code}"`))).toEqual([]);
});

function textOf(folder: string, without: string): string {
  const names = readdirSync(folder).filter((name) => name.endsWith(".ts") && name !== without);
  return names.map((name) => readFileSync(join(folder, name), "utf8")).join("\n");
}
