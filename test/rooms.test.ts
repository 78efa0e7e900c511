import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { toolVersion } from "../version/index.ts";

/** The structure that docs/architecture.md draws, held by reading every source file. */
const root = resolve(import.meta.dirname, "..");

/** Every folder with a room.json is a room; it says which rooms its files may import, or that they may import all of them. */
const rooms = new Map(
  (readdirSync(root, { recursive: true }) as string[])
    .filter((path) => basename(path) === "room.json" && !/^(?:node_modules|dist|build|\.)/.test(path))
    .map((path) => {
      const { imports } = JSON.parse(textOf(path)) as { imports: readonly string[] | "all" };
      return [dirname(path), imports] as const;
    }),
);

interface Import {
  readonly from: string;
  /** A path from the root, or the name of a package or of a module of Node. */
  readonly target: string;
}

const sources = [...new Set([...rooms.keys()].flatMap((room) => sourcesIn(room)))];
const imports = sources.flatMap((file) => importsOf(file));

function sourcesIn(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

function textOf(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

/** Static imports and exports (types too), bare imports, dynamic imports. */
function importsOf(from: string, text = textOf(from)): Import[] {
  const patterns = [
    /^(?:import|export)\b[^;"']*?\bfrom\s*["']([^"']+)["']/gm,
    /^import\s*["']([^"']+)["']/gm,
    /\bimport\(\s*["']([^"']+)["']\s*\)/g,
  ];
  return patterns
    .flatMap((pattern) => [...text.matchAll(pattern)].map(([, specifier = ""]) => specifier))
    .map((specifier) => {
      if (!specifier.startsWith(".")) return { from, target: specifier };
      return { from, target: relative(root, resolve(root, dirname(from), specifier)) };
    });
}

/** "@scope/name/sub" → "@scope/name". */
function packageOf(target: string): string {
  return target.split("/", target.startsWith("@") ? 2 : 1).join("/");
}

/** The innermost: rooms may stand in rooms. */
function roomOf(path: string): string | undefined {
  return [...rooms.keys()]
    .filter((room) => path === room || path.startsWith(`${room}/`))
    .toSorted((a, b) => b.length - a.length)[0];
}

/** Imports of another room, with both rooms. */
const crossings = imports.flatMap(({ from, target }) => {
  const [own, other] = [roomOf(from), roomOf(target)];
  return own === undefined || other === undefined || own === other ? [] : [{ from, target, own, other }];
});

describe("imports between rooms", () => {
  test("every source file of the program lies in a room", () => {
    const folders = new Set([...rooms.keys()].map((room) => room.split("/")[0] ?? ""));
    expect(folders.size).toBeGreaterThan(5);
    const files = [...folders].flatMap(sourcesIn);
    expect(files.filter((file) => roomOf(file) === undefined)).toEqual([]);
  });

  test("the scanner sees imports of every kind", () => {
    // Were it blind to one of them, all rules below would hold for nothing.
    expect(crossings.length).toBeGreaterThan(50);
    expect(imports).toContainEqual({ from: "storage/file/file-store.ts", target: "node:fs" });
    expect(imports).toContainEqual({ from: "merge/engines/registry.ts", target: "merge/engines/wasm/index.ts" });
    expect(imports).toContainEqual({ from: "worker/index.ts", target: "worker/session.ts" });
    expect(sources.filter((file) => /\bimport\(\s*[^"'\s]/.test(textOf(file)))).toEqual([]);
    expect(sources.filter((file) => /\b(?:createRequire|getBuiltinModule|require\()/.test(textOf(file)))).toEqual([]);
  });

  test("a room imports only the rooms that its room.json allows, and is allowed no other", () => {
    const forbidden = crossings.filter(
      ({ own, other }) => rooms.get(own) !== "all" && !rooms.get(own)?.includes(other),
    );
    expect(forbidden.map(({ from, target }) => `${from} imports ${target}`)).toEqual([]);
    const allowed = [...rooms].flatMap(([own, others]) =>
      others === "all" ? [] : others.map((other) => ({ own, other })),
    );
    const idle = allowed.filter(
      (arrow) => !crossings.some(({ own, other }) => own === arrow.own && other === arrow.other),
    );
    expect(idle.map(({ own, other }) => `${own} does not import ${other}`)).toEqual([]);
  });

  test("the architecture page tells of each room, and of no other", () => {
    const told = [...textOf("docs/architecture.md").matchAll(/^\| `([^`]+)\/` \| /gm)].map(([, room]) => room);
    expect(told.toSorted()).toEqual([...rooms.keys()].toSorted());
  });

  test("what is allowed has no circle", () => {
    const above: string[] = [];
    const visit = (room: string): void => {
      expect(above, `${[...above, room].join(" → ")}`).not.toContain(room);
      above.push(room);
      const others = rooms.get(room) ?? [];
      for (const other of others === "all" ? [] : others) visit(other);
      above.pop();
    };
    for (const room of rooms.keys()) visit(room);
  });

  test("another room is entered through its door", () => {
    const behind = crossings.filter(({ other, target }) => target !== `${other}/index.ts`);
    expect(behind.map(({ from, target }) => `${from} imports ${target}`)).toEqual([]);
  });

  test("no import leaves the rooms, but for packages that package.json lists and modules of Node", () => {
    type Listed = Readonly<Record<"dependencies" | "peerDependencies", Record<string, string>>>;
    const { dependencies, peerDependencies } = JSON.parse(textOf("package.json")) as Listed;
    const listed = { ...dependencies, ...peerDependencies };
    const strange = imports.filter(({ from, target }) => {
      if (target.startsWith("node:") || Object.hasOwn(listed, packageOf(target))) return false;
      return roomOf(target) === undefined && roomOf(from) !== "merge/kernels";
    });
    expect(strange.map(({ from, target }) => `${from} imports ${target}`)).toEqual([]);
  });

  test("every room but the command line and the kernels has a door, which spells its exports out", () => {
    for (const [room, imports] of rooms) {
      if (imports !== "all") expect(sources).toContain(`${room}/index.ts`);
    }
    expect(sources.filter((file) => /^\s*export\s*\*/m.test(textOf(file)))).toEqual([]);
  });
});

describe("what a room must not touch", () => {
  const core = sources.filter((file) => ["coordinator/core", "worker/lease"].includes(roomOf(file) ?? ""));

  test("the core imports nothing of Node and no package", () => {
    const outside = imports.filter(({ from, target }) => core.includes(from) && roomOf(target) === undefined);
    expect(outside.map(({ from, target }) => `${from} imports ${target}`)).toEqual([]);
  });

  test.each([
    ["the clock", /\bDate\b|\bperformance\b|\bhrtime\b/],
    ["chance", /\bMath\s*\.\s*random\b|\bcrypto\b|\brandomUUID\b/],
    ["timers", /\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b/],
    ["the process and the world", /\bprocess\b|\bconsole\b|\bfetch\b|\bglobalThis\b|\bPromise\b|\bawait\b/],
  ])("the core knows nothing of %s", (_, pattern) => {
    expect(core.length).toBeGreaterThan(2);
    expect(core.filter((file) => pattern.test(withoutComments(textOf(file))))).toEqual([]);
  });

  test("files are opened in the storage room alone; the wasm engine loads its own module", () => {
    const openers = imports.filter(({ target }) => /^(?:node:)?fs(?:\/|$)/.test(target)).map(({ from }) => from);
    const outside = openers.filter((file) => roomOf(file) !== "storage");
    expect(outside).toEqual(["merge/engines/wasm/kernel-module.ts"]);
  });

  test("what a path is, the storage room alone knows", () => {
    const knowing = imports.filter(({ target }) => /^(?:node:)?path(?:\/|$)/.test(target)).map(({ from }) => from);
    expect(knowing).toContain("storage/place.ts");
    expect(knowing.filter((file) => roomOf(file) !== "storage")).toEqual([]);
  });

  test("who merges on this machine loads nothing that joins machines", () => {
    const commands = ["merge", "plan", "repair", "sweep", "verify"].map((name) => `cli/commands/${name}.ts`);
    const begins = [...commands, "app/merge.ts", "app/sweep.ts", "app/repair-source.ts", "worker/pool/thread.ts"];
    expect(packagesLoadedBy(begins)).toEqual(["fastest-levenshtein", "pino", "yaml"]);
  });

  test("arithmetic takes no function from V8 that another version may round differently", () => {
    const inexact =
      /\bMath\s*\.\s*(?:sin|cos|tan|a?sinh?|a?cosh?|a?tanh?|atan2|exp|expm1|log|log1p|log2|log10|pow|hypot|cbrt)\b/;
    const arithmetic = sources.filter((file) => roomOf(file)?.startsWith("merge/"));
    expect(arithmetic.filter((file) => inexact.test(withoutComments(textOf(file))))).toEqual([]);
  });
});

/** What these files import as they are loaded, they and what they load, without what is types alone or loaded later. */
function packagesLoadedBy(begins: readonly string[]): string[] {
  const loaded = new Set(begins);
  const packages = new Set<string>();
  for (const file of loaded) {
    for (const { target } of importsOf(file, withoutTypes(textOf(file)).replaceAll(/\bimport\(/g, ""))) {
      if (sources.includes(target)) loaded.add(target);
      else if (!target.startsWith("node:")) packages.add(packageOf(target));
    }
  }
  return [...packages].toSorted();
}

function withoutTypes(text: string): string {
  return text
    .replaceAll(/^(?:import|export) type\b[^;]*;/gm, "")
    .replaceAll(/^(?:import|export) \{(?:\s*type [\w ]+,?)+\s*\} from [^;]*;/gm, "");
}

/** Good enough for a search: no string of these sources holds a comment's beginning. */
function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|\s)\/\/.*$/gm, "$1");
}

test("the version that the tool reports is the package's", () => {
  const { version } = JSON.parse(textOf("package.json")) as { version: string };
  expect(toolVersion).toBe(version);
});
