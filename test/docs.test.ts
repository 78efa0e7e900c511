import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { exitCodes } from "../cli/exit-codes.ts";
import { methodDeclarations } from "../merge/methods/index.ts";
import { bytesText, mergeOptions } from "../options/index.ts";
import { parseRecipe } from "../recipe/index.ts";
import { errorsPage, methodsPage, optionsPage } from "../scripts/generate-docs.mjs";

const root = resolve(import.meta.dirname, "..");
const textOf = (file: string) => readFileSync(join(root, file), "utf8");
const filesIn = (folder: string, ending: string) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending))
    .map((name) => `${folder}/${name}`);

const at1 = ([, part = ""]: RegExpMatchArray) => part;

/** Every document that people read. */
const pages = [
  ...["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"],
  ...["examples/models/README.md", "test/golden/README.md"],
  ...filesIn("docs", ".md"),
];

test("docs/methods.md is what the declarations say", () => {
  const page = methodsPage(methodDeclarations().values(), textOf("docs/methods-notes.md"));
  expect(textOf("docs/methods.md"), "stale: npm run docs").toBe(page);
});

test("docs/options.md is what the table says", () => {
  expect(textOf("docs/options.md"), "stale: npm run docs").toBe(optionsPage(mergeOptions, bytesText));
});

test("the oldest Node that is told is the one that package.json takes", () => {
  const { engines } = JSON.parse(textOf("package.json")) as { engines: { node: string } };
  const told = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/guide.md",
    "docs/errors.md",
    "merge/engines/wasm/kernel-module.ts",
  ].map((file) => [...textOf(file).matchAll(/Node(?:\.js)? ([0-9.]+[0-9]) or later/g)].map(at1));
  expect(told).toEqual(told.map(() => [engines.node.replace(">=", "")]));
});

describe("what comments cite", () => {
  const rooms = [
    "app",
    "checkpoint",
    "coordinator",
    "merge",
    "output",
    "plan",
    "recipe",
    "runtime",
    "tokenizer",
    "worker",
    "test",
  ];
  /** A page, and the part of it where one is named; comments are broken as lines are. */
  const citations = rooms
    .flatMap((room) => filesIn(room, ".ts"))
    .flatMap((file) => {
      const text = textOf(file).replaceAll(/\n\s*(?:\*|\/\/)\s*/g, " ");
      const parts = /docs\/(spec\/)?([a-z-]+)\.md(?:, ("[^"]+"(?: and "[^"]+")*))?/g;
      return [...text.matchAll(parts)].flatMap(([, spec = "", page, named]) => {
        const cited = { file, page: `docs/${spec}${page}.md` };
        return named === undefined
          ? [cited]
          : [...named.matchAll(/"([^"]+)"/g)].map(([, part]) => ({ ...cited, part }));
      });
    });

  test("is in the repository, with the part that is named", () => {
    expect(citations.filter(({ page }) => page.startsWith("docs/spec/")).length).toBeGreaterThan(40);
    const missing = citations.filter(({ page, ...of }) => {
      if (!existsSync(join(root, page))) return true;
      const part = "part" in of ? of.part : undefined;
      return part !== undefined && !new RegExp(`^#+ .*${part}|\\*\\*${part}\\*\\*`, "mi").test(textOf(page));
    });
    expect(missing).toEqual([]);
  });

  test("is cited by its path", () => {
    const bare = rooms
      .flatMap((room) => filesIn(room, ".ts"))
      .filter((file) => /(?<![\w/.-])(?:methods|random|recipe)\.md/.test(textOf(file)));
    expect(bare).toEqual([]);
  });
});

describe("docs/errors.md", () => {
  const rooms = filesIn(".", "room.json")
    .filter((file) => !file.includes("node_modules/"))
    .map((file) => dirname(file));
  const declaring = rooms.map((room) => `${room}/errors.ts`).filter((file) => existsSync(join(root, file)));
  /** A code as a key is declared, anywhere else it is given. */
  const declared = declaring.flatMap((file) =>
    [...textOf(file).matchAll(/^ {2}"([a-z]+\/[a-z0-9-]+)": \{$/gm)].map(at1),
  );
  const sources = [
    ...rooms.flatMap((room) => filesIn(room, ".ts")),
    "test/support/memory-objects.ts", // no store of objects is in a room so far
  ];
  const prefixes = [...new Set(declared.map((code) => code.slice(0, code.indexOf("/"))))];
  const pattern = new RegExp(`"((?:${prefixes.join("|")})/[a-z0-9-]+)"(?!:)`, "g");
  const given = new Set(sources.flatMap((file) => [...textOf(file).matchAll(pattern)].map(at1)));

  test("is what the rooms declare", async () => {
    const page = await errorsPage((file: string) => import(/* @vite-ignore */ join(root, `${file}.ts`)));
    expect(textOf("docs/errors.md"), "stale: npm run docs").toBe(page);
  });

  test("explains every code of every room, once", () => {
    const explained = [...textOf("docs/errors.md").matchAll(/^\| `([a-z]+\/[a-z0-9-]+)` \|/gm)].map(at1);
    expect(declared.length).toBeGreaterThan(200);
    expect(explained.toSorted()).toEqual(declared.toSorted());
    expect(explained.filter((code, k) => explained.indexOf(code) !== k)).toEqual([]);
  });

  test("has the code of every error in the sources, and none that no source gives", () => {
    expect([...given].filter((code) => !declared.includes(code))).toEqual([]);
    expect(declared.filter((code) => !given.has(code))).toEqual([]);
  });
});

describe("docs/guide.md, docs/operations.md and docs/options.md", () => {
  const guide = textOf("docs/guide.md");

  test("lists the exit codes, and no other", () => {
    const listed = [...guide.matchAll(/^\| `(\d+)` \|/gm)].map(([, code]) => Number(code));
    expect(listed.sort((a, b) => a - b)).toEqual(Object.values(exitCodes).sort((a, b) => a - b));
  });

  test("explains every option of the command line, and no other", () => {
    const declared = filesIn("cli", ".ts").map(textOf).join("\n");
    const options = new Set<string | undefined>([
      ...[...declared.matchAll(/\b\w*[oO]ption\(\s*"(--[a-z0-9-]+)[ "]/g)].map(([, option]) => option),
      ...Object.values(mergeOptions).map(({ flag }) => flag),
    ]);
    expect(options.size).toBeGreaterThan(20);
    const explaining = guide + textOf("docs/operations.md") + textOf("docs/options.md");
    const explained = new Set([...explaining.matchAll(/`(?:[a-z ]*)(--[a-z0-9-]+)/g)].map(([, option]) => option));
    expect([...options].filter((option) => !explained.has(option))).toEqual([]);
    const standing = ["--help", "--version", "--revision"]; // of commander, and of the command that downloads
    expect([...explained].filter((option) => !options.has(option) && !standing.includes(option ?? ""))).toEqual([]);
  });
});

test("every whole recipe in the documents is accepted as it stands", () => {
  const recipes = pages.flatMap((page) =>
    [...textOf(page).matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => ({ page, text })),
  );
  const whole = recipes.filter(({ text }) => text.includes("merge_method:"));
  expect(whole.length).toBeGreaterThan(2);
  for (const { page, text } of whole) {
    const { faults } = parseRecipe(text, page, { methods: methodDeclarations(), allowUnknownKeys: false });
    expect(faults).toEqual([]);
  }
});

test("links lead to files that are there, and to headings that are in them", () => {
  const broken = pages.flatMap((page) =>
    [...textOf(page).matchAll(/\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)/g)].flatMap(
      ([, path = "", anchor]) => {
        const target = path === "" ? page : join(dirname(page), path);
        if (!existsSync(join(root, target))) return [`${page}: ${path}`];
        if (anchor === undefined || anchorsOf(textOf(target)).includes(anchor)) return [];
        return [`${page}: ${path}#${anchor}`];
      },
    ),
  );
  expect(broken).toEqual([]);
});

test("source and test files that documents name are there", () => {
  const named = pages.flatMap((page) =>
    [
      ...textOf(page).matchAll(
        /`((?:test|bench|scripts|examples|deploy|cli|app|options|coordinator|merge|worker|recipe|checkpoint|storage|trust|enrollment)\/(?:[\w-]+\/)*(?:[\w.-]+\.\w+)?)`/g,
      ),
    ].map(([, path = ""]) => ({ page, path })),
  );
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter(({ path }) => !existsSync(join(root, path)))).toEqual([]);
});

describe("what docs/operations.md promises", () => {
  const section = textOf("docs/operations.md").split(/^## What is promised$/m)[1] ?? "";
  const rows = [...section.matchAll(/^\| (\d+) \|.*\| (.*) \|$/gm)].map(([, number, heldBy = ""]) => ({
    number,
    heldBy,
  }));

  test("tells of every failure mode, once", () => {
    expect(rows.map(({ number }) => Number(number))).toEqual(Array.from({ length: 27 }, (_, k) => k + 1));
  });

  test("names tests that are there, or says that there are none", () => {
    const missing = rows.flatMap(({ number, heldBy }) => {
      const files = [...heldBy.matchAll(/`(test\/[^`]+\.ts)`((?:,? ?\*[^*]+\*)*)/g)];
      const stated = /not applicable|not held/.test(heldBy);
      if (files.length === 0) return stated ? [] : [`${number}: nothing`];
      return files.flatMap(([, file = "", titles = ""]) => {
        const source = textOf(file);
        const named = [...titles.matchAll(/\*([^*]+)\*/g)].map(([, title = ""]) => title);
        if (named.length === 0) return [`${number}: ${file} without a title`];
        return named.filter((title) => !source.includes(title)).map((title) => `${number}: ${title}`);
      });
    });
    expect(missing).toEqual([]);
  });
});

test("documents name nothing that lies outside of the repository", () => {
  const outside = /(?<!\w)\/work\/|\.\.\/shared|(?<!\w)\/root\/|\b(?:reference|cases|make_golden|make_models)\.py\b/;
  expect(pages.filter((page) => outside.test(textOf(page)))).toEqual([]);
});

test.each(filesIn("docs/adr", ".md"))("%s says context, decision, price and what was refused", (file) => {
  const headings = [...textOf(file).matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);
  expect(headings).toEqual(["Context", "Decision", "Price", "Refused"]);
  expect(textOf(file)).toMatch(/^Status: (?:proposed|accepted|replaced by \d{4})$/m);
});

test("the changelog has a heading for bits under every version", () => {
  const versions = textOf("CHANGELOG.md").split(/^## /m).slice(1);
  expect(versions.length).toBeGreaterThan(0);
  expect(versions.filter((version) => !/^### Bits$/m.test(version))).toEqual([]);
});

/** As GitHub makes them. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

test("test files that need root or large tools say so in their names", () => {
  const files = filesIn("test", ".test.ts");
  expect(files.filter((file) => file.endsWith(".system.test.ts")).length).toBeGreaterThan(5);
  const needy = files.filter((file) =>
    /from "[^"]*support\/(?:nats-server|namespaces|hub\/python-hub)\.ts"/.test(textOf(file)),
  );
  expect(needy.filter((file) => !file.endsWith(".system.test.ts"))).toEqual([]);
});
