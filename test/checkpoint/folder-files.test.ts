import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { companionKind, openCheckpoint, readSidecar } from "../../checkpoint/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

const store = new FileStore();

/** A folder with weights and these files beside them; content is their name unless given. */
function model(files: readonly string[] | Readonly<Record<string, unknown>>): string {
  const folder = temporaryFolder();
  writeSafetensors(join(folder, "model.safetensors"), [
    { name: "a", dtype: "U8", shape: [4], bytes: new Uint8Array(4) },
  ]);
  const entries = Array.isArray(files) ? files.map((name: string) => [name, name]) : Object.entries(files);
  for (const [name, content] of entries) {
    fs.mkdirSync(dirname(join(folder, name)), { recursive: true });
    fs.writeFileSync(join(folder, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  return folder;
}

async function judged(files: Parameters<typeof model>[0]) {
  const { companions, leftBehind, missingCode } = await openCheckpoint(store, { root: placeOf(model(files)) }, "m");
  return { companions, leftBehind, missingCode };
}

const pooling = [
  { idx: 0, path: "", type: "sentence_transformers.models.Transformer" },
  { idx: 1, path: "1_Pooling", type: "sentence_transformers.models.Pooling" },
  { idx: 2, path: "2_Dense", type: "sentence_transformers.models.Dense" },
  { idx: 3, path: "3_Normalize", type: "sentence_transformers.models.Normalize" },
];

describe("carried along", () => {
  test("the folders that modules.json names, with the weights in them, and its configs", async () => {
    const files = {
      "modules.json": pooling,
      "1_Pooling/config.json": {},
      "2_Dense/config.json": {},
      "2_Dense/model.safetensors": "weights",
      "2_Dense/deeper/x.bin": "y",
      "2_Dense/.DS_Store": "no",
      "config_sentence_transformers.json": {},
      "sentence_bert_config.json": {},
    };
    const carried = Object.keys(files)
      .filter((name) => !name.endsWith("DS_Store"))
      .sort();
    expect(await judged(files)).toEqual({ companions: carried, leftBehind: [], missingCode: [] });
  });

  test("params.json is named where it is the config of the weights, and passed over beside others", async () => {
    expect((await judged(["params.json", "tekken.json"])).leftBehind).toEqual([]);
    const folder = placeOf(model(["params.json", "tekken.json"]));
    fs.renameSync(join(folder, "model.safetensors"), join(folder, "consolidated.safetensors"));
    const { leftBehind } = await openCheckpoint(store, { root: folder }, "m");
    expect(leftBehind).toEqual(["params.json"]);
  });

  test("the code that auto_map names, what lies beside it, and the folders that it imports", async () => {
    const code = {
      "configuration_x.py": "from transformers import PretrainedConfig",
      "modeling_x.py": "import torch\nfrom .layers.attention import Attention\nfrom . import helpers",
      "helpers.py": "#",
      "kernels.cu": "//",
      "layers/attention.py": "#",
      "layers/attention.cu": "//",
      "layers/__init__.py": "",
      "towers/vision.py": "#",
    };
    const config = {
      auto_map: {
        AutoConfig: "configuration_x.XConfig",
        AutoModel: "modeling_x.XModel",
        AutoProcessor: "towers.vision.P",
      },
    };
    const files = {
      "config.json": config,
      ...code,
      "inference/run.py": "#",
      "layers/notes.txt": "x",
      "other/run.py": "#",
    };
    const expected = { companions: Object.keys(code).sort(), leftBehind: ["other/"], missingCode: [] };
    expect(await judged(files)).toEqual(expected);
  });

  test("no pointer of git-lfs in place of a file", async () => {
    const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 17082730\n";
    for (const name of ["tokenizer.json", "tokenizer.model", "tekken.json"])
      await expect(judged({ [name]: pointer })).rejects.toMatchObject({
        code: "checkpoint/git-lfs",
        message: expect.stringContaining(`m: ${name} is a pointer of git-lfs`),
      });
    expect(await judged({ "picture.png": pointer })).toMatchObject({ companions: [], leftBehind: [] });
  });

  test("code of a tokenizer or processor, and vocabularies that its config names", async () => {
    const files = {
      "tokenizer_config.json": {
        auto_map: { AutoTokenizer: ["tokenization_x.XTokenizer", null] },
        vocab_file: "words.bin",
      },
      "preprocessor_config.json": { auto_map: { AutoProcessor: "processing_x.XProcessor" } },
      "tokenization_x.py": "#",
      "processing_x.py": "#",
      "words.bin": "w",
    };
    expect((await judged(files)).companions).toEqual(Object.keys(files).sort());
  });

  test("vocabularies under whatever name; they are of slow tokenizers", async () => {
    const names = [
      "qwen.tiktoken",
      "tiktoken.model",
      "tokenizer.model.v3",
      "source.spm",
      "target.spm",
      "sentencepiece.bpe.model",
    ];
    const more = [
      "bpe.codes",
      "dict.txt",
      "vocab-src.json",
      "emoji_vocab.txt",
      "merges-en.txt",
      "spiece.vocab",
      "tekken.json",
    ];
    expect((await judged([...names, ...more])).companions).toEqual([...names, ...more].sort());
    expect([...names, ...more].map(companionKind)).toEqual([...names, ...more].map(() => "slow-tokenizer"));
  });

  test("processors, templates, prompts and licences", async () => {
    const names = [
      "preprocessor_config.json",
      "video_processor_config.json",
      "configuration.json",
      "chat_template.jinja",
      "additional_chat_templates/rag.jinja",
      "LICENSE",
      "LICENCE.md",
      "LICENSE-MODEL.txt",
      "MODEL_LICENSE",
      "Community License for X Model.pdf",
      "NOTICE",
      "Notice.txt",
      "USE_POLICY.md",
      "custom_generate/generate.py",
    ];
    expect((await judged(names)).companions).toEqual([...names].sort());
  });
});

test("what no loader of the model looks for is passed over without a word", async () => {
  const names = [
    ...[
      "README.md",
      ".gitattributes",
      ".git/config",
      ".cache/huggingface/x",
      "figure.png",
      "assets/a.wav",
      "images/b.bin",
    ],
    ...[
      "training_args.bin",
      "optimizer.pt",
      "scheduler.pt",
      "rng_state_0.pth",
      "trainer_state.json",
      "train.log",
      "eval_results.json",
    ],
    ...[
      "checkpoint-100/model.safetensors",
      "runs/events.out.tfevents.1",
      "deepspeed_config.json",
      "global_step5/x.pt",
      "latest",
    ],
    ...[
      "pytorch_model.bin",
      "pytorch_model.bin.index.json",
      "tf_model.h5",
      "flax_model.msgpack",
      "model_quantized.onnx",
      "decoder_with_past_model.onnx",
      "weights.npz",
      "onnx/model.onnx",
      "model.gguf",
    ],
    ...[
      "consolidated.safetensors",
      "consolidated.00.pth",
      "params.json",
      "model.fp16.safetensors",
      "original/params.json",
    ],
    ...["mergekit_config.yml", "SHA256SUMS", "deltaworks.manifest.json", "requirements.txt"],
  ];
  expect(await judged(names)).toEqual({ companions: [], leftBehind: [], missingCode: [] });
});

test("what is neither is named: other weights, other folders, code that nothing names", async () => {
  const names = ["mtp.safetensors", "spk_dict.pt", "speech_tokenizer/model.safetensors", "handler.py", "stats.dat"];
  // Tables and other networks in the formats of weights.
  names.push("mel_filters.npz", "voice.npy", "campplus.onnx", "head.h5");
  expect(await judged(names)).toEqual({
    companions: [],
    leftBehind: [
      ...["campplus.onnx", "handler.py", "head.h5", "mel_filters.npz", "mtp.safetensors"],
      ...["speech_tokenizer/", "spk_dict.pt", "stats.dat", "voice.npy"],
    ],
    missingCode: [],
  });
});

test("code that auto_map names and that is not there is named; that of another repository is not", async () => {
  const auto_map = { AutoModel: "modeling_x.XModel", AutoConfig: "owner/name--configuration_x.XConfig" };
  expect((await judged({ "config.json": { auto_map } })).missingCode).toEqual(["modeling_x.py"]);
});

test("shards in a folder are weights, and no companions", async () => {
  const folder = placeOf(temporaryFolder());
  writeSafetensors(join(folder, "weights", "x.safetensors"), [
    { name: "a", dtype: "U8", shape: [4], bytes: new Uint8Array(4) },
  ]);
  fs.writeFileSync(join(folder, "model.safetensors.index.json"), '{"weight_map":{"a":"weights/x.safetensors"}}');
  expect(await openCheckpoint(store, { root: folder }, "m")).toMatchObject({ companions: [], leftBehind: [] });
});

test.each(["1_Pooling/config.json", "LICENSE", "modeling_x.py"])(
  "%s that is a link out of the folder is refused",
  async (name) => {
    const folder = placeOf(
      model({
        "modules.json": pooling,
        "config.json": { auto_map: { AutoModel: "modeling_x.X" } },
        [name]: "x",
      }),
    );
    fs.rmSync(join(folder, name));
    fs.symlinkSync("/etc/hostname", join(folder, name));
    await expect(openCheckpoint(store, { root: folder }, "m")).rejects.toMatchObject({ code: "checkpoint/link-out" });
  },
);

test("a file beside the weights is read in the state in which it was found, or not at all", async () => {
  const folder = placeOf(model({ "config.json": {}, "vocab.txt": "a" }));
  const checkpoint = await openCheckpoint(store, { root: folder }, "m");
  expect([...(checkpoint.sidecars?.keys() ?? [])].sort()).toEqual(["config.json", "vocab.txt"]);
  expect(Buffer.from(await readSidecar(store, checkpoint, "vocab.txt", 10)).toString()).toBe("a");
  fs.writeFileSync(join(folder, "vocab.txt"), "b!");
  const changed = { code: "checkpoint/changed", message: expect.stringContaining("vocab.txt") };
  await expect(readSidecar(store, checkpoint, "vocab.txt", 10)).rejects.toMatchObject(changed);
  fs.rmSync(join(folder, "config.json"));
  fs.symlinkSync("/etc/hostname", join(folder, "config.json"));
  await expect(readSidecar(store, checkpoint, "config.json", 1e6)).rejects.toMatchObject({
    code: "checkpoint/changed",
  });
});
