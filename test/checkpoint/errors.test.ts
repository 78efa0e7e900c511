import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkpointCodes } from "../../checkpoint/errors.ts";
import { storageCodes } from "../../storage/errors.ts";

// Behaviour behind each code is held by the test that names it, in whichever room it is thrown; this one sees that there is such a test.
test.each([
  { room: "checkpoint", codes: Object.keys(checkpointCodes) },
  { room: "storage", codes: Object.keys(storageCodes) },
])("every code of $room has a test", ({ codes }) => {
  const tests = textOf("test", join("checkpoint", "errors.test.ts"));
  expect(codes.filter((code) => !tests.includes(`"${code}"`))).toEqual([]);
});

function textOf(folder: string, without: string): string {
  const names = (readdirSync(folder, { recursive: true }) as string[]).filter(
    (name) => name.endsWith(".ts") && name !== without,
  );
  return names.map((name) => readFileSync(join(folder, name), "utf8")).join("\n");
}
