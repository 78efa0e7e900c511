import { cpSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { runMerge } from "../support/run-merge.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

function modelsWith(files: Readonly<Record<string, string>>): string {
  const folder = temporaryFolder();
  for (const name of ["a", "b"]) cpSync("examples/models/tiny-prose", join(folder, name), { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, "a", name)), { recursive: true });
    writeFileSync(join(folder, "a", name), content);
  }
  return folder;
}

const models = "models: [{model: a, parameters: {weight: 1}}, {model: b, parameters: {weight: 1}}]";

test("what a loader needs is in the output, byte by byte, and the rest is named", async () => {
  const modules = JSON.stringify([{ path: "" }, { path: "1_Pooling" }, { path: "2_Dense" }]);
  const carried = {
    "modules.json": modules,
    "1_Pooling/config.json": "{}",
    "2_Dense/model.safetensors": "copied as it stands",
    "modeling_x.py": "import torch",
    LICENSE: "do what you like",
    "preprocessor_config.json": '{"auto_map": {"AutoProcessor": "modeling_x.Processor"}, "s": [Infinity]}',
  };
  const folder = modelsWith({ ...carried, "mtp.safetensors": "x", "README.md": "y" });
  const out = join(folder, "out");
  const run = await runMerge(`merge_method: linear\n${models}`, out, { models: folder });
  expect(run.outcome.outcome).toBe("done");
  for (const [name, content] of Object.entries(carried)) expect(readFileSync(join(out, name), "utf8")).toBe(content);
  expect(run.planWarnings.filter((code) => /files|code|copied/.test(code)).sort()).toEqual([
    "recipe/code-carried",
    "recipe/files-left-behind",
    "recipe/weights-copied",
  ]);
});

test("nothing is said of a model with the usual files only, and nothing of other models' files", async () => {
  const folder = modelsWith({ "README.md": "x", "training_args.bin": "x" });
  writeFileSync(join(folder, "b", "stats.dat"), "x");
  const run = await runMerge(`merge_method: linear\n${models}`, join(folder, "out"), { models: folder });
  expect([run.outcome.outcome, run.planWarnings]).toEqual(["done", []]);
});

test("weights under a name of their own, and a first model without a config, are told", async () => {
  const folder = modelsWith({});
  const rename = (from: string, to: string) => renameSync(join(folder, "a", from), join(folder, "a", to));
  const warnings = async (recipe: string) => {
    const { planFindings, outcome } = await runMerge(
      `merge_method: linear\n${recipe}`,
      join(temporaryFolder(), "out"),
      {
        models: folder,
      },
    );
    expect(outcome.outcome).toBe("done");
    return planFindings.map(({ message }) => message);
  };
  rename("model.safetensors", "diffusion_pytorch_model.safetensors");
  const named =
    '"a": its weights are called diffusion_pytorch_model.safetensors, those of the output model.safetensors';
  expect(await warnings(models)).toEqual([named]);
  const turned = "models: [{model: b, parameters: {weight: 1}}, {model: a, parameters: {weight: 1}}]";
  expect(await warnings(turned)).toEqual([]);
  rename("diffusion_pytorch_model.safetensors", "model.safetensors");
  rename("config.json", "old.config.jsonl");
  expect(await warnings(models)).toEqual([
    '"a": it has no config.json, and the output neither: loaders cannot tell what model that is',
  ]);
  expect(await warnings(turned)).toEqual([]);
});

test("settings beside the weights that mean different outputs are told", async () => {
  const pooling = (mode: string) =>
    JSON.stringify({ pooling_mode_cls_token: mode === "cls", word_embedding_dimension: 8 });
  const folder = modelsWith({
    "modules.json": JSON.stringify([{ path: "" }, { path: "1_Pooling" }]),
    "1_Pooling/config.json": pooling("cls"),
    "preprocessor_config.json": JSON.stringify({ image_mean: [0.5], size: 4 }),
  });
  cpSync(join(folder, "a"), join(folder, "b"), { recursive: true });
  writeFileSync(join(folder, "b", "preprocessor_config.json"), JSON.stringify({ image_mean: [0.4], size: 8 }));
  const warnings = async () => {
    const run = await runMerge(`merge_method: linear\n${models}`, join(temporaryFolder(), "out"), { models: folder });
    expect(run.outcome.outcome).toBe("done");
    return run.planFindings.map(({ code, message }) => `${code} ${message}`);
  };
  const image = `recipe/configs-disagree preprocessor_config.json of "b" disagrees with that of "a": image_mean [0.4] instead of [0.5]`;
  expect(await warnings()).toEqual([image]);
  writeFileSync(join(folder, "b", "1_Pooling", "config.json"), pooling("mean"));
  expect(await warnings()).toEqual([
    `recipe/configs-disagree 1_Pooling/config.json of "b" disagrees with that of "a": pooling_mode_cls_token false instead of true`,
    image,
  ]);
  writeFileSync(join(folder, "b", "1_Pooling", "config.json"), "no JSON");
  expect(await warnings()).toEqual([image]);
});

test("JSON that is copied and cannot be read is told before work is done", async () => {
  const folder = modelsWith({
    "generation_config.json": '{"eos_token_id": 1,}',
    "preprocessor_config.json": "",
    "tokenizer_config.json": '{"a": "b',
    "processor_config.json": "\uFEFF{}",
    "chat_template.jinja": "{{ messages }}",
    "vocab.json": '{"__proto__": 0, "half": "\\ud800", "x": [NaN]}',
    "id2label.json": '{"0": "\u00e4"} x',
  });
  for (const name of ["generation_config.json", "tokenizer.json"]) writeFileSync(join(folder, "b", name), "damaged");
  const told = async (text: string) => {
    const run = await runMerge(text, join(temporaryFolder(), "out"), { models: folder });
    expect(run.outcome.outcome).toBe("done");
    return run.planFindings.filter(({ code }) => code === "recipe/damaged-file").map(({ message }) => message);
  };
  const damaged = (name: string, fault: string, model = "a") =>
    `${name} of "${model}" is no JSON: ${fault}; it is copied as it stands`;
  const ofA = [
    damaged("generation_config.json", 'a string as key expected, "}" found (byte 19 of 20)'),
    damaged("id2label.json", 'nothing more expected, "x" found (byte 12 of 13)'),
    damaged("preprocessor_config.json", "a value expected, the end found (byte 0 of 0)"),
    damaged(
      "processor_config.json",
      'a byte order mark (ef bb bf) stands before the JSON, which loaders refuse: save the file as UTF-8 without it (Python reads it with the encoding "utf-8-sig") (byte 0 of 5)',
    ),
    damaged("tokenizer_config.json", "the text ends inside a string (byte 8 of 8)"),
  ];
  expect(await told(`merge_method: linear\n${models}`)).toEqual(ofA);
  expect(await told("merge_method: passthrough\nchat_template: chatml\nmodels: [{model: a}]")).toEqual(ofA);
  expect(await told("merge_method: passthrough\nmodels: [{model: b}]")).toEqual([
    damaged("generation_config.json", 'a value expected, "d" found (byte 0 of 7)', "b"),
    damaged("tokenizer.json", 'a value expected, "d" found (byte 0 of 7)', "b"),
  ]);
});
