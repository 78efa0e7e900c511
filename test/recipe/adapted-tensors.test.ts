import { expect, test } from "vitest";
import type { Adapter, AdapterConfig, TensorEntry } from "../../checkpoint/index.ts";
import { type Binding, bindRecipe, labelsFor, type RecipeInput, referencedModels } from "../../recipe/index.ts";
import { checkpointOf, type TensorShape } from "./checkpoints.ts";
import { methods, parse, recipeOf, summaryOf } from "./parsing.ts";

const config: AdapterConfig = {
  rank: 2,
  alpha: 4,
  rankPattern: new Map(),
  alphaPattern: new Map(),
  rslora: false,
  fanInFanOut: false,
  isDora: false,
  keepsTies: false,
  modulesToSave: [],
  tokenRows: new Map(),
};

/** Pairs by module: shapes of A and B. Saved tensors by name. */
function adapterOf(
  pairs: Readonly<Record<string, readonly [readonly number[], readonly number[]]>>,
  saved: Readonly<Record<string, readonly number[]>> = {},
  settings: Partial<AdapterConfig> = {},
): Adapter {
  const shapes = [
    ...Object.entries(pairs).flatMap(([module, [a, b]]): TensorShape[] => [
      [`${module}.lora_A.weight`, a, "F32"],
      [`${module}.lora_B.weight`, b, "F32"],
    ]),
    ...Object.entries(saved).map(([name, shape]): TensorShape => [name, shape, "F32"]),
  ];
  const checkpoint = checkpointOf(shapes);
  const entry = (name: string): TensorEntry => checkpoint.tensors.get(name)!;
  return {
    checkpoint,
    config: { ...config, ...settings },
    pairs: new Map(
      Object.keys(pairs).map((module) => [
        module,
        { a: entry(`${module}.lora_A.weight`), b: entry(`${module}.lora_B.weight`) },
      ]),
    ),
    saved: new Map(Object.keys(saved).map((name) => [name, entry(name)])),
    tokenRows: new Map(),
  };
}

const base: TensorShape[] = [
  ["model.embed_tokens.weight", [10, 4]],
  ["model.layers.0.q.weight", [6, 4]],
  ["model.layers.0.o.weight", [4, 4]],
  ["model.norm.weight", [4]],
];

function bind(adapter: Adapter, text = recipe, model: readonly TensorShape[] = base, modelType?: string): Binding {
  const parsed = recipeOf(text);
  const references = referencedModels(parsed);
  const labels = labelsFor(references);
  const inputs = references.map((reference): RecipeInput => {
    const label = labels.get(reference.text)!;
    if (reference.isAdapter === true) return { reference, label, checkpoint: adapter.checkpoint, adapter };
    return {
      reference,
      label,
      checkpoint: checkpointOf(model, modelType === undefined ? undefined : { model_type: modelType }),
    };
  });
  return bindRecipe(parsed, inputs, { methods });
}

const recipe = `merge_method: linear
parameters: {weight: 1}
models: [{model: base}, {model: base+tuned}]
`;
const taskOf = ({ tasks }: Binding, name: string) => tasks.find((task) => task.name === name)!;

test("base and adapter are inputs of their own, each once", () => {
  const text = recipe.replace("base}", "base+tuned}").replace("linear", "ties").concat("base_model: base\n");
  expect(referencedModels(recipeOf(text)).map((reference) => reference.text)).toEqual(["base", "+tuned"]);
});

test("a weight that the adapter names is the base's with A and B; others are the base's own", () => {
  const binding = bind(
    adapterOf({
      "model.layers.0.q": [
        [2, 4],
        [6, 2],
      ],
    }),
  );
  expect(binding.faults).toEqual([]);
  const [plain, adapted] = taskOf(binding, "model.layers.0.q.weight").models;
  expect(plain).toMatchObject({ input: 0, dtype: "BF16", storedRowLength: 4 });
  expect(adapted).toMatchObject({
    kind: "adapter",
    dtype: "F32",
    tensor: "model.layers.0.q.weight",
    storedRowLength: 4,
    base: { input: 0, tensor: "model.layers.0.q.weight" },
    a: { input: 1, tensor: "model.layers.0.q.lora_A.weight" },
    b: { input: 1, tensor: "model.layers.0.q.lora_B.weight" },
    ...{ rank: 2, scale: 2, rows: 6, columns: 4, transposed: false, index: 1 },
  });
  expect(taskOf(binding, "model.norm.weight").models.map((model) => model.kind)).toEqual([undefined, undefined]);
  // The output's dtype is still the base's.
  expect(taskOf(binding, "model.layers.0.q.weight").dtype).toBe("BF16");
});

test("a base with an adapter can be the base_model, and what is copied of it is adapted too", () => {
  const text = "merge_method: ties\nbase_model: base+tuned\nmodels: [{model: other, parameters: {weight: 1}}]\n";
  const binding = bind(
    adapterOf({
      "model.layers.0.q": [
        [2, 4],
        [6, 2],
      ],
    }),
    text,
  );
  expect(taskOf(binding, "model.layers.0.q.weight").base).toMatchObject({ kind: "adapter" });
  expect(binding.definingInput).toBe(0);
});

test("saved modules take the place of the base's tensors, whatever their shape", () => {
  const binding = bind(
    adapterOf(
      {
        "model.layers.0.q": [
          [2, 4],
          [6, 2],
        ],
      },
      { "model.embed_tokens.weight": [12, 4] },
    ),
    "merge_method: passthrough\nmodels: [{model: base+tuned}]\n",
  );
  expect(taskOf(binding, "model.embed_tokens.weight").models[0]).toMatchObject({
    input: 1,
    tensor: "model.embed_tokens.weight",
    dtype: "F32",
  });
  expect(taskOf(binding, "model.embed_tokens.weight").shape).toEqual([12, 4]);
});

test("what would replace a tensor that the base lacks is skipped with a warning", () => {
  const binding = bind(
    adapterOf(
      {
        "model.layers.0.q": [
          [2, 4],
          [6, 2],
        ],
      },
      { "score.weight": [2, 4] },
    ),
  );
  expect(summaryOf(binding.warnings)).toEqual([
    'partly-used 3:25 71.4 % of "tuned" is used: "base" lacks 1 of its tensors (the first score.weight)',
  ]);
});

test.each([
  ["[in, out] by the flag", [4, 4], true, true],
  ["[out, in] without it", [4, 4], false, false],
  ["[in, out] by its shape, whatever the flag", [4, 6], false, true],
  ["[out, in] by its shape, whatever the flag", [6, 4], true, false],
])("a weight is taken as %s", (_, shape, fanInFanOut, transposed) => {
  const square = shape[0] === shape[1];
  const adapter = adapterOf(
    {
      "h.0.c": [
        [2, 4],
        [square ? 4 : 6, 2],
      ],
    },
    {},
    { fanInFanOut },
  );
  const [, adapted] = taskOf(bind(adapter, recipe, [["h.0.c.weight", shape]]), "h.0.c.weight").models;
  expect(adapted).toMatchObject({ kind: "adapter", transposed, rows: shape[0], columns: shape[1] });
});

test.each([
  ["gpt2", "c_proj", false, true],
  ["gpt2", "c_proj", true, true],
  ["qwen", "c_proj", false, false],
  ["jais", "c_proj", true, true],
  ["llama", "q_proj", true, false],
])("of a square weight PEFT goes by the kind of module: %s, %s, flag %s", (type, leaf, fanInFanOut, transposed) => {
  const pair = [
    [2, 4],
    [4, 2],
  ] as const;
  const adapter = adapterOf({ [`h.0.${leaf}`]: pair }, {}, { fanInFanOut });
  const name = `h.0.${leaf}.weight`;
  const [, adapted] = taskOf(bind(adapter, recipe, [[name, [4, 4]]], type), name).models;
  expect(adapted).toMatchObject({ kind: "adapter", transposed });
});

test("a convolution is the matrix of its first dimension and the rest", () => {
  const adapter = adapterOf({
    conv: [
      [2, 3, 3, 3],
      [8, 2, 1, 1],
    ],
  });
  const [, adapted] = taskOf(bind(adapter, recipe, [["conv.weight", [8, 3, 3, 3]]]), "conv.weight").models;
  expect(adapted).toMatchObject({ kind: "adapter", rows: 8, columns: 27, storedRowLength: 3, transposed: false });
});

test("an adapter of a vision-language model fits every layout of it, and no other tower", () => {
  const layouts = [
    ["model.", "visual."],
    ["model.language_model.", "model.visual."],
    ["language_model.model.", "visual."],
    ["base_model.model.model.language_model.", "base_model.model.model.visual."],
  ] as const;
  const modelOf = ([text, tower]: readonly [string, string]): TensorShape[] => [
    [`${text}embed_tokens.weight`, [10, 4]],
    [`${text}layers.0.q.weight`, [6, 4]],
    [`${tower}layers.0.q.weight`, [6, 4]],
  ];
  const factors = [
    [2, 4],
    [6, 2],
  ] as const;
  for (const layout of layouts) {
    for (const [text, tower] of layouts) {
      const language = bind(adapterOf({ [`${text}layers.0.q`]: factors }), recipe, modelOf(layout));
      expect([language.faults, language.warnings]).toEqual([[], []]);
      const adapted = ({ tasks }: Binding) =>
        tasks.filter(({ models }) => models[1]?.kind === "adapter").map(({ name }) => name);
      expect(adapted(language)).toEqual([`${layout[0]}layers.0.q.weight`]);
      const vision = bind(adapterOf({ [`${tower}layers.0.q`]: factors }), recipe, modelOf(layout));
      expect([vision.faults, adapted(vision)]).toEqual([[], [`${layout[1]}layers.0.q.weight`]]);
    }
  }
  const textOnly = modelOf(layouts[0]).slice(0, 2);
  const { faults } = bind(adapterOf({ "model.visual.layers.0.q": factors }), recipe, textOnly);
  expect(faults.map(({ code }) => code)).toEqual(["recipe/adapter-mismatch"]);
});

test("modules are found where the adapter was trained under another prefix", () => {
  const pair = [
    [2, 4],
    [6, 2],
  ] as const;
  const names = (module: string, tensor: string) => {
    const binding = bind(adapterOf({ [module]: pair }), recipe, [[tensor, [6, 4]]]);
    return [binding.faults.length, taskOf(binding, tensor).models[1]!.kind];
  };
  expect(names("model.layers.0.q", "layers.0.q.weight")).toEqual([0, "adapter"]);
  expect(names("layers.0.q", "model.layers.0.q.weight")).toEqual([0, "adapter"]);
});

test.each([
  [
    "a module the base lacks",
    {
      "model.layers.7.q": [
        [2, 4],
        [6, 2],
      ],
    },
    "adapts model.layers.7.q, and there is no model.layers.7.q.weight",
  ],
  [
    "other shapes",
    {
      "model.layers.0.q": [
        [2, 5],
        [6, 2],
      ],
    },
    "B A would have the shape [6, 5], the weight has [6, 4]",
  ],
  [
    "another rank",
    {
      "model.layers.0.q": [
        [3, 4],
        [6, 3],
      ],
    },
    "A [3, 4] and B [6, 3] are not of rank 2",
  ],
] as const)("%s is a fault with its place", (_, pairs, message) => {
  const [fault] = bind(adapterOf(pairs)).faults;
  expect(fault).toMatchObject({ code: "recipe/adapter-mismatch", line: 3, column: 25 });
  expect(fault?.message).toContain(`"tuned" does not fit "base": it `);
  expect(fault?.message).toContain(message);
});

test("the same adapter faults once, however many tensors it has", () => {
  const pairs = Object.fromEntries(
    Array.from(
      { length: 9 },
      (_, k) =>
        [
          `m.${k}.q`,
          [
            [2, 4],
            [6, 2],
          ],
        ] as const,
    ),
  );
  expect(bind(adapterOf(pairs)).faults).toHaveLength(1);
});

test("a model takes one adapter", () => {
  expect(summaryOf(parse("merge_method: linear\nmodels: [{model: a+b+c}]\n").faults).join()).toContain('holds 2 "+"');
  const twice = "merge_method: linear\nmodels: [{model: {model: a+b, lora: c}}]\n";
  expect(summaryOf(parse(twice).faults).join()).toContain('"a+b" has an adapter already');
});

test("of an adapter that is used in part the share is said; one that is used by less than half is refused", () => {
  const factors = [
    [2, 4],
    [6, 2],
  ] as const;
  // The factors have 20 elements.
  const withSaved = (elements: number) =>
    bind(adapterOf({ "model.layers.0.q": factors }, { "model.strange.weight": [elements] }));
  const half = withSaved(20);
  expect(half.faults).toEqual([]);
  expect(summaryOf(half.warnings)).toContain(
    'partly-used 3:25 50.0 % of "tuned" is used: "base" lacks 1 of its tensors (the first model.strange.weight)',
  );
  expect(withSaved(21).faults.map(({ code }) => code)).toEqual(["recipe/unused-model"]);
});

test("an adapter that alters nothing of what the recipe takes is refused", () => {
  const factors = [
    [2, 4],
    [6, 2],
  ] as const;
  const two = [...base, ["model.layers.1.q.weight", [6, 4]], ["model.layers.1.o.weight", [4, 4]]] as TensorShape[];
  const slices = (end: number) => `merge_method: passthrough
slices:
  - sources: [{model: base+tuned, layer_range: [0, ${end}]}]
`;
  const adapter = adapterOf({ "model.layers.1.q": factors });
  expect(bind(adapter, slices(2), two).faults).toEqual([]);
  expect(summaryOf(bind(adapter, slices(1), two).faults)).toEqual([
    'unused-model 3:15 nothing that the recipe takes of "base+tuned" is altered by its adapter',
  ]);
});

test("rows for the embedding alone, of a model with a head of its own, are refused: the two would differ", () => {
  const headed: TensorShape[] = [...base, ["lm_head.weight", [10, 4]]];
  const rows = (saved: Readonly<Record<string, readonly number[]>>) =>
    bind(
      adapterOf(
        {
          "model.layers.0.q": [
            [2, 4],
            [6, 2],
          ],
        },
        saved,
      ),
      passthrough,
      headed,
    ).faults.map(({ code }) => code);
  const passthrough = "merge_method: passthrough\nmodels: [{model: base+tuned}]\n";
  expect(rows({ "model.embed_tokens.weight": [12, 4] })).toEqual(["recipe/embedding-rows"]);
  expect(rows({ "model.embed_tokens.weight": [12, 4], "lm_head.weight": [12, 4] })).toEqual([]);
});
