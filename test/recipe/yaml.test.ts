import { expect, test } from "vitest";
import { Findings } from "../../recipe/findings.ts";
import { parseYaml, type YamlNode } from "../../recipe/yaml.ts";

/** The document as plain values; maps as lists of pairs would hide nothing here, keys being unique. */
function plain(node: YamlNode | undefined): unknown {
  if (node === undefined) return undefined;
  if (node.kind === "scalar") return node.value;
  if (node.kind === "list") return node.items.map(plain);
  return Object.fromEntries([...node.entries.values()].map(({ key, value }) => [key, plain(value)]));
}

function read(text: string) {
  const findings = new Findings("recipe.yml");
  const value = plain(parseYaml(text, findings));
  return { value, faults: findings.faults, warnings: findings.warnings };
}

// The expected values are what PyYAML 6.0.3 gives.
test.each([
  ["quoted scalars are text", "{a: '1', b: \"yes\", c: 1}", { a: "1", b: "yes", c: 1 }],
  ["a key without a value holds nothing", "a:\nb: ~\n", { a: null, b: null }],
  ["an alias is what its anchor named last", "a: &x 1\nb: *x\nc: &x 2\nd: *x\n", { a: 1, b: 1, c: 2, d: 2 }],
  [
    "a merge key brings in what the map lacks",
    "a: &x {p: 1, q: 2}\nb: {q: 3, <<: *x}\n",
    { a: { p: 1, q: 2 }, b: { p: 1, q: 3 } },
  ],
  [
    "of several merged maps the first counts",
    "a: [&x {p: 1}, &y {p: 2, q: 2}]\nb: {<<: [*x, *y]}\n",
    { a: [{ p: 1 }, { p: 2, q: 2 }], b: { p: 1, q: 2 } },
  ],
  ["a quoted << is a key like others", "a: {'<<': 1}\n", { a: { "<<": 1 } }],
  ["tags of the core types are read", 'a: !!str 1\nb: !!float "1.5"\nc: !!int 3\n', { a: "1", b: 1.5, c: 3 }],
  ["a colon without a space ends no key", "{a:1}", { "a:1": null }],
  ["a tab may stand after a colon", "a:\t1\n", { a: 1 }],
  ["a document may be marked", "%YAML 1.1\n---\na: 1\n...\n", { a: 1 }],
  ["a list may stand at the indent of its key", "a:\n- 1\n- 2\n", { a: [1, 2] }],
  ["a closing bracket may stand at the indent of its key", "a:\n  b: [\n    1,\n    2\n  ]\n", { a: { b: [1, 2] } }],
  [
    "lines in brackets need no indent",
    "a:\n  b: [1, # [\n  '[',\n2]\nc: {\nd: 3 }\n",
    { a: { b: [1, "[", 2] }, c: { d: 3 } },
  ],
  ["a key may be __proto__", "__proto__: {polluted: 1}\n", Object.fromEntries([["__proto__", { polluted: 1 }]])],
])("%s", (_, text, expected) => {
  expect(read(text)).toEqual({ value: expected, faults: [], warnings: [] });
  expect(({} as { polluted?: number }).polluted).toBeUndefined();
});

test("of a key that stands twice the last counts, with a warning at its place", () => {
  const { value, faults, warnings } = read("a: 1\nb: 2\na: 3\n");
  expect(value).toEqual({ a: 3, b: 2 });
  expect(faults).toEqual([]);
  expect(warnings).toMatchObject([{ code: "recipe/duplicate-key", line: 3, column: 1 }]);
});

test.each([
  ["an unclosed quote", "a: 'x\n", "recipe/yaml", 2],
  ["a tab as indentation", "a:\n\t- 1\n", "recipe/yaml", 2],
  ["an alias without anchor", "a: 1\nb: *nowhere\n", "recipe/yaml", 2],
  ["an alias inside of its anchor", "a: &x\n  - *x\n", "recipe/yaml", 2],
  ["a list as key", "? [a]\n: 1\n", "recipe/yaml", 1],
  ["a tag of our own", "a: !model x\n", "recipe/yaml", 1],
  ["a tag that does not fit", "a: !!bool 3\n", "recipe/yaml", 1],
  ["a merge key of something else", "a:\n  <<: 3\n", "recipe/yaml", 2],
  ["several documents", "a: 1\n---\nb: 1\n", "recipe/wrong-value", 3],
  ["nothing", "# only a comment\n", "recipe/missing-key", 1],
])("%s is refused with its line", (_, text, code, line) => {
  const { value, faults } = read(text);
  expect(value).toBeUndefined();
  expect(faults).toMatchObject([{ code, line }]);
});

test("places are those of the text as written, also in brackets without indent", () => {
  const findings = new Findings("recipe.yml");
  const root = parseYaml("a:\n  b: [1,\n  2]\n", findings);
  const a = root?.kind === "map" ? root.entries.get("a")?.value : undefined;
  const b = a?.kind === "map" ? a.entries.get("b")?.value : undefined;
  expect(b?.kind === "list" ? b.items.map(({ place }) => place) : undefined).toEqual([
    { line: 2, column: 7 },
    { line: 3, column: 3 },
  ]);
});

test("aliases that expand to billions of values are refused", () => {
  const levels = Array.from({ length: 12 }, (_, i) => {
    const items = Array.from({ length: 10 }, () => (i === 0 ? "1" : `*l${i - 1}`));
    return `l${i}: &l${i} [${items.join(", ")}]`;
  });
  expect(read(levels.join("\n")).faults).toMatchObject([{ code: "recipe/too-large" }]);
});

test.each([
  ["nested lists", `${"[".repeat(200)}${"]".repeat(200)}`],
  ["too much text", `a: ${"x".repeat(1 << 20)}`],
])("%s are refused as too large", (_, text) => {
  expect(read(text).faults).toMatchObject([{ code: "recipe/too-large" }]);
});

test("a text of nothing but mistakes gives a few faults", () => {
  const { faults } = read('"'.repeat(2001));
  expect(faults.length).toBeGreaterThan(0);
  expect(faults.length).toBeLessThanOrEqual(10);
});
