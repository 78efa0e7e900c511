import { expect, test } from "vitest";
import { alignNames } from "../../checkpoint/index.ts";

type Shapes = readonly (readonly [name: string, shape: readonly number[]])[];
const shapes = (tensors: Shapes) => new Map(tensors.map(([name, shape]) => [name, { shape }]));

const llama = (text: string, head: string): Shapes => [
  [`${text}embed_tokens.weight`, [8, 4]],
  ...[0, 1].flatMap(
    (layer): Shapes => [
      [`${text}layers.${layer}.self_attn.q_proj.weight`, [4, 4]],
      [`${text}layers.${layer}.mlp.up_proj.weight`, [6, 4]],
    ],
  ),
  [`${text}norm.weight`, [4]],
  [`${head}lm_head.weight`, [8, 4]],
];
const vision = (tower: string, projector: string): Shapes => [
  [`${tower}encoder.layers.0.q_proj.weight`, [4, 4]],
  [`${tower}encoder.layers.1.q_proj.weight`, [4, 4]],
  [`${projector}linear_1.weight`, [4, 4]],
];
const gpt2 = (prefix: string): Shapes => [
  [`${prefix}wte.weight`, [8, 4]],
  [`${prefix}h.0.attn.c_attn.weight`, [4, 12]],
  [`${prefix}h.1.attn.c_attn.weight`, [4, 12]],
  [`${prefix}ln_f.weight`, [4]],
];
const bert = (prefix: string): Shapes => [
  [`${prefix}embeddings.word_embeddings.weight`, [8, 4]],
  [`${prefix}embeddings.LayerNorm.weight`, [4]],
  [`${prefix}encoder.layer.0.output.dense.weight`, [4, 8]],
  [`${prefix}pooler.dense.weight`, [4, 4]],
];
const t5 = (prefix: string): Shapes => [
  [`${prefix}shared.weight`, [8, 4]],
  [`${prefix}encoder.block.0.layer.0.SelfAttention.q.weight`, [4, 4]],
  [`${prefix}decoder.block.0.layer.0.SelfAttention.q.weight`, [4, 4]],
];

/** Families in every layout that is in use: all of one family are one architecture, in the same order. */
const families: Record<string, readonly Shapes[]> = {
  llama: ["model.", "", "model.model.", "base_model.model.model.", "module.model.", "_orig_mod.model.", "llm."].map(
    (prefix) => llama(prefix, prefix === "module.model." ? "module." : ""),
  ),
  "compiled within": [llama("model.", ""), llama("model._orig_mod.", "_orig_mod.")],
  "vision and language": [
    [...llama("model.", ""), ...vision("visual.", "multi_modal_projector.")],
    [...llama("model.language_model.", ""), ...vision("model.visual.", "model.multi_modal_projector.")],
    [...llama("language_model.model.", "language_model."), ...vision("visual.", "multi_modal_projector.")],
    [...llama("thinker.model.", "thinker."), ...vision("thinker.visual.", "thinker.multi_modal_projector.")],
  ],
  "weight norm, before and after torch 2": [
    ["weight_g", "weight_v"],
    ["parametrizations.weight.original0", "parametrizations.weight.original1"],
  ].map(
    ([g, v]): Shapes => [
      ["wav2vec2.encoder.layers.0.attention.q_proj.weight", [4, 4]],
      [`wav2vec2.encoder.pos_conv_embed.conv.${g}`, [1, 1, 3]],
      [`wav2vec2.encoder.pos_conv_embed.conv.${v}`, [4, 4, 3]],
    ],
  ),
  llava: [
    [
      ...llama("language_model.model.", "language_model."),
      ...vision("vision_tower.vision_model.", "multi_modal_projector."),
    ],
    [...llama("model.language_model.", ""), ...vision("model.vision_tower.", "model.multi_modal_projector.")],
  ],
  gpt2: ["", "transformer.", "module.transformer."].map(gpt2),
  bert: ["", "bert.", "roberta.", "model.bert."].map(bert),
  t5: ["", "transformer.", "model."].map(t5),
  mamba: ["backbone.", "model."].map(
    (prefix): Shapes => [
      [`${prefix}embeddings.weight`, [8, 4]],
      [`${prefix}layers.0.mixer.in_proj.weight`, [8, 4]],
    ],
  ),
  "a beginning that nobody knows": ["", "my_net.", "outer.my_net.", "model.my_net."].map((prefix) => gpt2(prefix)),
};

test.each(Object.entries(families))(
  "%s: names that differ by their beginning are the same tensors, either way",
  (_, layouts) => {
    for (const target of layouts) {
      for (const other of layouts) {
        const { names, ambiguous } = alignNames(shapes(target), shapes(other));
        expect(ambiguous).toEqual([]);
        expect(target.map(([name]) => names.get(name))).toEqual(other.map(([name]) => name));
      }
    }
  },
);

test("gamma and beta of a norm are its weight and bias; elsewhere they are what they are called", () => {
  const target = shapes([
    ["bert.embeddings.LayerNorm.weight", [4]],
    ["bert.embeddings.LayerNorm.bias", [4]],
    ["bert.encoder.layer.0.gamma", [4]],
  ]);
  const other = shapes([
    ["embeddings.LayerNorm.gamma", [4]],
    ["embeddings.LayerNorm.beta", [4]],
    ["encoder.layer.0.weight", [4]],
  ]);
  expect([...alignNames(target, other).names]).toEqual([
    ["bert.embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma"],
    ["bert.embeddings.LayerNorm.bias", "embeddings.LayerNorm.beta"],
  ]);
});

test("a tower is not another, nor an encoder a decoder, even where all shapes agree", () => {
  const inside = (part: string) => shapes([0, 1].map((layer) => [`${part}layers.${layer}.q_proj.weight`, [4, 4]]));
  for (const [one, two] of [
    ["model.", "model.vision_tower."],
    ["model.audio_tower.", "model."],
    ["model.encoder.", "model.decoder."],
  ] as const) {
    expect(alignNames(inside(one), inside(two)).names.size).toBe(0);
    expect(alignNames(inside(two), inside(one)).names.size).toBe(0);
  }
});

test("what could be two tensors is reported; where one shape fits, it is that one", () => {
  const target = shapes([["model.layers.0.up.weight", [6, 4]]]);
  const two = (first: number[], second: number[]) =>
    shapes([
      ["language_model.layers.0.up.weight", first],
      ["backbone.layers.0.up.weight", second],
    ]);
  expect(alignNames(target, two([6, 4], [6, 4]))).toEqual({
    names: new Map(),
    ambiguous: [
      {
        name: "model.layers.0.up.weight",
        candidates: ["language_model.layers.0.up.weight", "backbone.layers.0.up.weight"],
      },
    ],
  });
  expect([...alignNames(target, two([5, 4], [6, 4])).names.values()]).toEqual(["backbone.layers.0.up.weight"]);
});

test("an unknown beginning is taken off only where every shape agrees and nothing else would do", () => {
  const named = (prefix: string, size: number): Shapes =>
    gpt2(prefix).map(([name, shape]) => [name, shape.map(() => size)]);
  expect(alignNames(shapes(named("", 4)), shapes(named("my_net.", 5))).names.size).toBe(0);
  const twins = shapes([...named("left.", 4), ...named("right.", 4)]);
  expect(alignNames(shapes(named("", 4)), twins).names.size).toBe(0);
});
