import { expect, test } from "vitest";
import { bindRecipe, labelsFor, referencedModels } from "../../recipe/index.ts";
import { checkpointOf, type TensorShape } from "./checkpoints.ts";
import { methods, parse, summaryOf } from "./parsing.ts";

function copied(shapes: readonly TensorShape[], config: Record<string, unknown>) {
  const { recipe } = parse("merge_method: passthrough\nmodels: [{model: one}]\n");
  if (recipe === undefined) throw new Error("the recipe is right");
  const references = referencedModels(recipe);
  const checkpoint = checkpointOf(shapes, config);
  const inputs = references.map((reference) => ({
    reference,
    label: labelsFor(references).get("one") ?? "",
    checkpoint,
  }));
  const { warnings, configValues = [] } = bindRecipe(recipe, inputs, { methods });
  return { told: summaryOf(warnings).filter((line) => line.startsWith("table-count")), configValues };
}

const bert = (positions: number, types = 2): TensorShape[] => [
  ["bert.embeddings.word_embeddings.weight", [9, 4]],
  ["bert.embeddings.position_embeddings.weight", [positions, 4]],
  ["bert.embeddings.token_type_embeddings.weight", [types, 4]],
  ["bert.encoder.layer.0.output.dense.weight", [4, 4]],
];
const bart = (encoder: number, decoder: number): TensorShape[] => [
  ["model.shared.weight", [9, 4]],
  ["model.encoder.embed_positions.weight", [encoder, 4]],
  ["model.encoder.layers.0.fc1.weight", [4, 4]],
  ["model.decoder.embed_positions.weight", [decoder, 4]],
  ["model.decoder.layers.0.fc1.weight", [4, 4]],
];
const clip = (positions: number): TensorShape[] => [
  ["text_model.embeddings.token_embedding.weight", [9, 4]],
  ["text_model.embeddings.position_embedding.weight", [positions, 4]],
  ["text_model.encoder.layers.0.mlp.fc1.weight", [4, 4]],
  ["vision_model.embeddings.position_embedding.weight", [50, 4]],
  ["vision_model.encoder.layers.0.mlp.fc1.weight", [4, 4]],
];

test.each<[string, readonly TensorShape[], Record<string, unknown>]>([
  ["BERT", bert(16), { model_type: "bert", vocab_size: 9, max_position_embeddings: 16, type_vocab_size: 2 }],
  ["positions from 2", bart(18, 18), { model_type: "bart", vocab_size: 9, max_position_embeddings: 16 }],
  ["of a part", bart(18, 18), { model_type: "mbart", text_config: { vocab_size: 9, max_position_embeddings: 16 } }],
  [
    "towers that are counted apart",
    bart(12, 7),
    { model_type: "whisper", vocab_size: 9, max_source_positions: 12, max_target_positions: 7 },
  ],
  ["pictures", clip(7), { model_type: "clip", text_config: { vocab_size: 9, max_position_embeddings: 7 } }],
  ["no learned positions", bert(16).slice(0, 1), { model_type: "llama", vocab_size: 9, max_position_embeddings: 99 }],
  [
    "code of its own",
    bert(18),
    { model_type: "own", auto_map: { AutoModel: "m.M" }, vocab_size: 9, max_position_embeddings: 16 },
  ],
])("tables with as many rows as the config counts are not told: %s", (_, shapes, config) => {
  expect(copied(shapes, config)).toEqual({ told: [], configValues: [] });
});

test("positions and kinds of tokens that a config counts otherwise than its tables are told, and the tables count", () => {
  const config = { model_type: "roberta", vocab_size: 9, max_position_embeddings: 512, type_vocab_size: 2 };
  expect(copied(bert(514, 1), config)).toEqual({
    told: [
      'table-count 1:1 the config of "one" says max_position_embeddings 512, and bert.embeddings.position_embeddings.weight has 514 rows: the output\'s config says max_position_embeddings 514',
      'table-count 1:1 the config of "one" says type_vocab_size 2, and bert.embeddings.token_type_embeddings.weight has 1 rows: the output\'s config says type_vocab_size 1',
    ],
    configValues: [
      { path: ["max_position_embeddings"], value: 514 },
      { path: ["type_vocab_size"], value: 1 },
    ],
  });
  const bartConfig = { model_type: "bart", vocab_size: 9, max_position_embeddings: 18 };
  expect(copied(bart(18, 18), bartConfig).configValues).toContainEqual({
    path: ["max_position_embeddings"],
    value: 16,
  });
  const clipConfig = { model_type: "clip", text_config: { vocab_size: 9, max_position_embeddings: 77 } };
  expect(copied(clip(7), clipConfig).configValues).toEqual([
    { path: ["text_config", "max_position_embeddings"], value: 7 },
  ]);
  const whisper = { model_type: "whisper", vocab_size: 9, max_source_positions: 12, max_target_positions: 6 };
  expect(copied(bart(12, 7), whisper).configValues).toEqual([{ path: ["max_target_positions"], value: 7 }]);
});

test("where it is not clear which count is meant, or whose code it is, nothing is altered", () => {
  const two = { model_type: "whisper", vocab_size: 9, max_source_positions: 20, max_target_positions: 6 };
  expect(copied(bart(12, 7), two)).toMatchObject({ told: [{}, {}].map(() => expect.any(String)), configValues: [] });
  const own = { model_type: "own", auto_map: { AutoModel: "m.M" }, vocab_size: 9, max_position_embeddings: 10 };
  expect(copied(bert(16), own)).toEqual({
    told: [expect.stringMatching(/the output's config says the same$/)],
    configValues: [],
  });
});

test("classes that a config names are compared with the rows of the classifier", () => {
  const classified = (rows: number): TensorShape[] => [...bert(16), ["classifier.weight", [rows, 4]]];
  const config = {
    ...{ model_type: "bert", vocab_size: 9, max_position_embeddings: 16, type_vocab_size: 2 },
    architectures: ["BertForSequenceClassification"],
  };
  expect(copied(classified(3), { ...config, id2label: { 0: "a", 1: "b", 2: "c" } }).told).toEqual([]);
  expect(copied(classified(2), config).told).toEqual([]);
  expect(copied(classified(3), { ...config, num_labels: 3 }).told).toEqual([]);
  expect(copied(classified(3), { ...config, id2label: { 0: "a", 1: "b" } }).told).toEqual([
    'table-count 1:1 the config of "one" (BertForSequenceClassification) names 2 classes and classifier.weight has 3 rows: the output\'s config says the same',
  ]);
  expect(copied(classified(3), config).told).toEqual([
    expect.stringContaining("2 classes, as it has no id2label, and"),
  ]);
  expect(copied(classified(3), { ...config, architectures: ["BertForMultipleChoice"] }).told).toEqual([]);
});
