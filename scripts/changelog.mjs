// Joins the files of changes/ into the section Unreleased of CHANGELOG.md, and removes them. Before a release: npm run changelog
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, "changes");
const sections = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Bits"];

/**
 * What a file of changes/ says: a section, an empty line, a paragraph.
 * @throws Error that says how it should be
 */
export function parseChange(name, text) {
  const [, room] = /^([a-z-]+)\.[a-z0-9-]+\.md$/.exec(name) ?? [];
  if (room === undefined || !existsSync(join(root, room.replaceAll("-", "/"), "room.json")))
    throw new Error(`changes/${name}: call it ROOM.some-words.md, where ROOM is a room's path with - for /`);
  const [section, empty, ...lines] = text.replace(/\n$/, "").split("\n");
  if (!sections.includes(section) || empty !== "")
    throw new Error(`changes/${name}: the first line must be one of ${sections.join(", ")}, the second empty`);
  if (lines.length === 0 || lines.some((line) => !/^[^\s#-]/.test(line)))
    throw new Error(`changes/${name}: after the second line comes one paragraph, without points, headings and indents`);
  return { section, lines };
}

/** Every change that waits, in the order of the files' names. */
export function waitingChanges() {
  return namesOfChanges().map((name) => parseChange(name, readFileSync(join(folder, name), "utf8")));
}

function namesOfChanges() {
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

/**
 * The changelog with a point for each change, at the end of its section of Unreleased.
 * @param {string} changelog
 * @param {ReturnType<typeof waitingChanges>} changes
 */
export function withChanges(changelog, changes) {
  const [before, unreleased, ...versions] = changelog.split(/^(?=## )/m);
  if (!unreleased?.startsWith("## Unreleased\n")) throw new Error("CHANGELOG.md: the first version must be Unreleased");
  const parts = changes.reduce(withChange, unreleased.split(/^(?=### )/m));
  const whole = parts.map((part) => part.trimEnd()).join("\n\n");
  return [before, `${whole}\n${versions.length > 0 ? "\n" : ""}`, ...versions].join("");
}

/** `parts`: the head of a version, then its sections; Bits stays the last. */
function withChange(parts, { section, lines }) {
  const point = `- ${lines.join("\n  ")}`;
  const isOf = (name) => (part) => part.startsWith(`### ${name}\n`);
  const at = parts.findIndex(isOf(section));
  if (at >= 0) return parts.with(at, `${parts[at].trimEnd()}\n${point}`);
  const bits = parts.findIndex(isOf("Bits"));
  return parts.toSpliced(bits < 0 ? parts.length : bits, 0, `### ${section}\n\n${point}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = join(root, "CHANGELOG.md");
  const names = namesOfChanges();
  writeFileSync(path, withChanges(readFileSync(path, "utf8"), waitingChanges()));
  for (const name of names) rmSync(join(folder, name));
  console.log(`${names.length} changes are in CHANGELOG.md now`);
}
