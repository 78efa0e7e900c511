/** What the command line is made of: a file a command, which is loaded when it is called. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { createProgram } from "../../cli/program.ts";
import type { Register } from "../../cli/runs.ts";
import { defaultsOf, type OptionCommand } from "../../options/index.ts";

const root = join(import.meta.dirname, "../..");

test("every file of cli/register is collected", async () => {
  const apart = new Command();
  for (const file of readdirSync(join(root, "cli/register"))) {
    const { register } = (await import(join(root, "cli/register", file))) as { register: Register };
    register(apart, () => async () => {});
  }
  const namesOf = ({ commands }: Command) => commands.map((command) => command.name()).toSorted();
  expect(namesOf(createProgram(() => async () => {}))).toEqual(namesOf(apart));
});

/** What a command is called with, where it is not run. */
async function parsed(...words: string[]): Promise<Record<string, unknown>> {
  let options = {};
  const program = createProgram(() => async (...all) => {
    options = (all.at(-1) as Command).opts();
  });
  await program.parseAsync(words, { from: "user" });
  return options;
}

describe("options of a merge come under the names of the table", () => {
  test.each<[OptionCommand, ...string[]]>([
    ["merge", "a", "b"],
    ["sweep", "a"],
    ["plan", "a"],
    ["coordinator", "--state", "s"],
    ["worker", "--coordinator", "c:1"],
    ["repair", "a"],
  ])("%s: with their defaults where nothing is said", async (command, ...words) => {
    expect({ ...defaultsOf(command), ...(await parsed(command, ...words)) }).toEqual(await parsed(command, ...words));
  });

  test("submit: what is not said is left to the coordinator, flags apart", async () => {
    const { seed, sliceBytes, shardBytes, auditShare, cutEmbeddings } = await parsed("submit", "a", "b");
    expect({ seed, sliceBytes, shardBytes, auditShare, cutEmbeddings }).toEqual({ cutEmbeddings: false });
  });

  test("parsed", async () => {
    const words = ["--slice-size", "1KiB", "--random-seed", "0x10", "--keep", "x", "--keep", "y=z", "--threads", "2"];
    expect(await parsed("merge", "a", "b", ...words, "--memory", "1GB", "--cut-embeddings")).toMatchObject({
      ...{ sliceBytes: 1024, seed: "16", keep: ["x", "y=z"], threads: 2, memoryBytes: 1e9, cutEmbeddings: true },
    });
  });

  test("an engine that is none is refused with those that there are", async () => {
    const refusal = {
      code: "engine/unavailable",
      hint: "Choose one of: wasm, reference; several with + between them; or auto.",
    };
    await expect(parsed("merge", "a", "b", "--engine", "cuda")).rejects.toMatchObject(refusal);
  });
});

test("help loads no command, and no room but those that options are made of", () => {
  const loaded = new Set<string>();
  const load = (file: string) => {
    if (loaded.has(file)) return;
    loaded.add(file);
    const text = readFileSync(join(root, file), "utf8");
    for (const [, target = ""] of text.matchAll(/^(?:import|export) (?!type )[^;"]*?from "(\.[^"]+)";$/gm)) {
      load(relative(root, resolve(root, dirname(file), target)));
    }
  };
  load("cli/main.ts");
  expect([...loaded]).toContain("cli/register/merge.ts");
  expect([...loaded].filter((file) => file.startsWith("cli/commands/"))).toEqual([]);
  const rooms = new Set([...loaded].map((file) => file.replace(/\/(?:[^/]+|register\/[^/]+)$/, "")));
  expect([...rooms].toSorted()).toEqual(["cli", "errors", "merge/engines", "merge/math", "options", "version"]);
});
