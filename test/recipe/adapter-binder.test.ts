import { expect, test } from "vitest";
import type { Adapter, AdapterConfig } from "../../checkpoint/index.ts";
import { type Binding, bindRecipe, labelsFor, type RecipeInput, referencedModels } from "../../recipe/index.ts";
import { checkpointOf, type TensorShape } from "./checkpoints.ts";
import { methods, recipeOf, summaryOf } from "./parsing.ts";

interface Made {
  readonly rank: number;
  readonly alpha: number;
  /** Modules with rows and columns of the weight. */
  readonly modules: Readonly<Record<string, readonly [number, number]>>;
  readonly saved?: boolean;
  readonly targets?: readonly string[];
}

function adapterOf({ rank, alpha, modules, saved = false, targets = ["q"] }: Made): Adapter {
  const shapes = Object.entries(modules).flatMap(([module, [rows, columns]]): TensorShape[] => [
    [`${module}.lora_A.weight`, [rank, columns], "F32"],
    [`${module}.lora_B.weight`, [rows, rank], "F32"],
  ]);
  const checkpoint = checkpointOf([...shapes, ["lm_head.weight", [2, 2], "F32"]], { target_modules: targets });
  const entry = (name: string) => checkpoint.tensors.get(name)!;
  const config: AdapterConfig = {
    ...{ rank, alpha, rslora: false, fanInFanOut: false, tokenRows: new Map() },
    ...{ rankPattern: new Map(), alphaPattern: new Map(), isDora: false, keepsTies: false, modulesToSave: [] },
  };
  return {
    checkpoint,
    config,
    pairs: new Map(
      Object.keys(modules).map((module) => [
        module,
        { a: entry(`${module}.lora_A.weight`), b: entry(`${module}.lora_B.weight`) },
      ]),
    ),
    saved: new Map(saved ? [["lm_head.weight", entry("lm_head.weight")]] : []),
    tokenRows: new Map(),
  };
}

function bind(text: string, adapters: Readonly<Record<string, Made | readonly TensorShape[]>>): Binding {
  const recipe = recipeOf(text);
  const references = referencedModels(recipe);
  const labels = labelsFor(references);
  const inputs = references.map((reference): RecipeInput => {
    const label = labels.get(reference.text)!;
    const made = adapters[reference.path]!;
    if (!("rank" in made)) return { reference, label, checkpoint: checkpointOf(made) };
    const adapter = adapterOf(made);
    return { reference, label, checkpoint: adapter.checkpoint, adapter };
  });
  return bindRecipe(recipe, inputs, { methods });
}

const two = (method: string, extra = "") => `merge_method: ${method}
${extra}models:
  - {model: a, parameters: {weight: 2}}
  - {model: b, parameters: {weight: 3}}
`;
const a: Made = { rank: 2, alpha: 4, modules: { "l.0.q": [6, 5], "l.1.q": [6, 5] } };
const b: Made = { rank: 3, alpha: 3, modules: { "l.1.q": [6, 5], "l.2.q": [6, 5] } };

test("cat: A below each other, B side by side times weight and scale; modules that one adapter lacks are the other's", () => {
  const binding = bind(two("cat"), { a, b });
  expect(binding.faults).toEqual([]);
  expect(binding.tasks.map(({ name, shape }) => `${name} ${shape}`)).toEqual([
    ...["l.0.q.lora_A.weight 2,5", "l.0.q.lora_B.weight 6,2"],
    ...["l.1.q.lora_A.weight 5,5", "l.1.q.lora_B.weight 6,5"],
    ...["l.2.q.lora_A.weight 3,5", "l.2.q.lora_B.weight 6,3"],
  ]);
  const [, , below, beside] = binding.tasks;
  expect(below?.base).toMatchObject({
    kind: "rows",
    width: 5,
    parts: [{ input: 0 }, { input: 1 }],
    runs: [
      { part: 0, first: 0, count: 2 },
      { part: 1, first: 0, count: 3 },
    ],
  });
  // Scales 4 / 2 and 3 / 3.
  expect(beside?.base).toMatchObject({
    kind: "columns",
    width: 5,
    parts: [
      { columns: 2, factor: 4 },
      { columns: 3, factor: 3 },
    ],
  });
  expect(binding.adapter).toEqual({ ranks: { rank: 2, pattern: { "l.1.q": 5, "l.2.q": 3 } } });
});

test("normalize divides by the weights of the adapters that have the module", () => {
  const binding = bind(two("cat", "parameters: {normalize: true}\n"), { a, b });
  const factors = binding.tasks.flatMap(({ base }) =>
    base?.kind === "columns" ? [base.parts.map(({ factor }) => factor)] : [],
  );
  expect(factors).toEqual([[2], [(2 / 5) * 2, 3 / 5], [1]]);
});

test("svd: the rank asked for, but no more than there is", () => {
  const binding = bind(two("svd", "parameters: {rank: 4}\n"), { a, b });
  expect(binding.tasks.map(({ shape }) => String(shape))).toEqual(["2,5", "6,2", "4,5", "6,4", "3,5", "6,3"]);
  expect(binding.tasks[2]?.base).toMatchObject({
    ...{ kind: "product", side: "right", rank: 4, rows: 6, columns: 5 },
    terms: [
      { rank: 2, factor: 4, a: { input: 0 } },
      { rank: 3, factor: 3, a: { input: 1 } },
    ],
  });
  expect(binding.tasks[3]?.base).toMatchObject({ kind: "product", side: "left" });
});

test("targets are written out where the adapters do not say the same", () => {
  expect(bind(two("cat"), { a, b: { ...b, targets: ["q", "k"] } }).adapter?.targetModules).toEqual([
    "l.0.q",
    "l.1.q",
    "l.2.q",
  ]);
});

test.each<[string, string, Record<string, Made | readonly TensorShape[]>, string]>([
  [
    "a whole model",
    two("cat"),
    { a, b: [["l.0.q.weight", [6, 5]]] },
    'adapter 4:5 "b" is no LoRA adapter, and cat merges nothing else',
  ],
  [
    "saved modules",
    two("cat"),
    { a, b: { ...b, saved: true } },
    'adapter 4:5 "b" holds lm_head.weight besides A and B',
  ],
  [
    "other shapes",
    two("cat"),
    { a, b: { ...b, modules: { "l.0.q": [6, 4] } } },
    'adapter-mismatch 4:5 "b" has A [3, 4] and B [6, 3] for l.0.q',
  ],
  [
    "weights that cancel",
    two("cat", "parameters: {normalize: true}\n").replace("weight: 3", "weight: -2"),
    { a, b },
    "sum to 0",
  ],
  [
    "a rank that is no whole number",
    two("svd", "parameters: {rank: 2.5}\n"),
    { a, b },
    "rank is 2.5; it must be a whole number",
  ],
  ["no rank", two("svd"), { a, b }, 'missing-parameter 1:1 svd needs "rank"'],
  [
    "an adapter beside a whole model",
    two("linear"),
    { a, b: [["l.0.q.weight", [6, 5]]] },
    '"a" is an adapter, "b" a whole model',
  ],
  ["other scales", two("linear"), { a, b: { ...a, alpha: 8 } }, "linear merges A and B as they stand"],
])("%s: a fault with its place", (_, text, adapters, message) => {
  expect(summaryOf(bind(text, adapters).faults).join("\n")).toContain(message);
});

test("layer ranges of adapters are refused", () => {
  const text = "merge_method: cat\nslices: [{sources: [{model: a, layer_range: [0, 1], parameters: {weight: 1}}]}]\n";
  expect(summaryOf(bind(text, { a }).faults)).toEqual(["adapter 1:1 cat merges whole adapters, no layer ranges"]);
});

test("methods that know nothing of adapters merge them tensor by tensor where rank and scale agree", () => {
  const binding = bind(two("linear"), { a, b: a });
  expect(binding.faults).toEqual([]);
  expect(binding.adapter).toEqual({});
  expect(binding.layerCount).toBeUndefined();
});

test("adapters of one architecture under other prefixes are merged as one, named as the first names it", () => {
  const inside = (prefix: string, made: Made): Made => ({
    ...made,
    modules: Object.fromEntries(Object.entries(made.modules).map(([module, sizes]) => [prefix + module, sizes])),
  });
  const plain = bind(two("cat"), { a: inside("model.", a), b: inside("model.", b) });
  const mixed = bind(two("cat"), { a: inside("model.", a), b: inside("model.language_model.", b) });
  expect([mixed.faults, mixed.warnings]).toEqual([[], []]);
  const bytes = ({ tasks }: Binding) =>
    JSON.parse(JSON.stringify(tasks, (key, value) => (key === "tensor" ? undefined : value)));
  expect(bytes(mixed)).toEqual(bytes(plain));
  expect(mixed.adapter).toEqual(plain.adapter);
});
