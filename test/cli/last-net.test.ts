import { execFile } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";

const net = join(import.meta.dirname, "..", "..", "dist", "cli", "last-net.js");

/** A process with the net under it, in which something happens that nobody hears of; it would go on for ever. */
function run(what: string, ...args: string[]) {
  const script = `
    import { endOnUnheardErrors } from ${JSON.stringify(net)};
    endOnUnheardErrors({ stdout: () => true, stderr: (text) => process.stderr.write(text) });
    setInterval(() => {}, 1000);
    ${what}`;
  const given = ["--input-type=module", "-e", script, "--", ...args];
  return new Promise<{ readonly code: unknown; readonly stderr: string }>((resolve) => {
    execFile(process.execPath, given, (error, _, stderr) => resolve({ code: error?.code ?? 0, stderr }));
  });
}

test.each([
  ["a promise that is rejected", 'void Promise.reject(new Error("slice 7 was done twice"));'],
  ["a callback that throws", 'setImmediate(() => { throw new Error("slice 7 was done twice"); });'],
])("%s ends the process, by name", async (_, what) => {
  const { code, stderr } = await run(what);
  expect(code).toBe(1);
  expect(stderr).toMatch(/^error merge\/internal {2}Error: slice 7 was done twice\n/);
});

test("with --json it is an object", async () => {
  const { code, stderr } = await run('void Promise.reject("odd");', "--json");
  expect(code).toBe(1);
  expect(JSON.parse(stderr)).toMatchObject({ event: "error", code: "merge/internal", message: "odd" });
});
