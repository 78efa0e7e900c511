import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { type CheckpointError, openCheckpoint, readSafetensorsHeader } from "../../checkpoint/index.ts";
import { FileStore, fileVersion, placeOf } from "../../storage/index.ts";
import { readCheckpoint } from "../support/read-safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { type WriteTensor, writeRawSafetensors, writeSafetensors, writeSharded } from "../support/write-safetensors.ts";

const store = new FileStore();
const open = (root: string) => openCheckpoint(store, { root: placeOf(root) }, "m");
const tensor = (name: string, dtype = "U8"): WriteTensor => ({ name, dtype, shape: [4], bytes: new Uint8Array(4) });
const [first, second] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

/** Two shards with a tensor each, an index, a config. */
function sharded(): string {
  const folder = temporaryFolder();
  writeSharded(folder, [[tensor("a")], [tensor("b")]]);
  fs.writeFileSync(join(folder, "config.json"), '{"n_layer": 3}');
  return folder;
}

function single(): string {
  const folder = temporaryFolder();
  writeSafetensors(join(folder, "model.safetensors"), [tensor("a")]);
  return folder;
}

function withIndex(weightMap: unknown): string {
  const folder = sharded();
  const text = typeof weightMap === "string" ? weightMap : JSON.stringify({ weight_map: weightMap });
  fs.writeFileSync(join(folder, "model.safetensors.index.json"), text);
  return folder;
}

describe("openCheckpoint", () => {
  const models = ["tiny-base", "tiny-c", "tiny-json", "tiny-prose", "gpt2-base", "gpt2-prose", "bert-base"];

  test.each(models)("finds every tensor of %s where an independent reader finds it", async (name) => {
    const folder = join("examples/models", name);
    const checkpoint = await open(folder);
    const expected = readCheckpoint(folder);
    expect([...checkpoint.tensors.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const found of checkpoint.tensors.values()) {
      const { dtype, shape, bytes } = expected.get(found.name)!;
      expect(found).toMatchObject({ dtype, shape, sizeBytes: bytes.length });
      const file = fs.readFileSync(checkpoint.files[found.file]!.path);
      expect(file.subarray(found.offsetBytes, found.offsetBytes + found.sizeBytes).equals(bytes)).toBe(true);
    }
  });

  test("gives files in the order of names, tensors in the order of files and offsets, config, companions", async () => {
    const folder = sharded();
    for (const name of ["tokenizer.json", "merges.txt", "notes.txt", "README.md"])
      fs.writeFileSync(join(folder, name), "");
    fs.mkdirSync(join(folder, "additional_chat_templates"));
    fs.writeFileSync(join(folder, "additional_chat_templates", "rag.jinja"), "");
    fs.mkdirSync(join(folder, "vocab.json")); // a folder is no companion
    const checkpoint = await open(folder);
    expect(checkpoint.root).toBe(folder);
    expect(checkpoint.files.map((file) => file.name)).toEqual([first, second]);
    expect([...checkpoint.tensors.values()].map((found) => [found.name, found.file])).toEqual([
      ["a", 0],
      ["b", 1],
    ]);
    expect(checkpoint.config).toEqual({ n_layer: 3 });
    expect(checkpoint.companions).toEqual(["additional_chat_templates/rag.jinja", "merges.txt", "tokenizer.json"]);
    const path = join(folder, first!);
    const stats = fs.statSync(path, { bigint: true });
    const bytes = fs.readFileSync(path);
    expect(checkpoint.files[0]).toEqual({
      name: first,
      path,
      sizeBytes: bytes.length,
      version: fileVersion({ inode: stats.ino, mtimeNs: stats.mtimeNs }),
      headerSha256: createHash("sha256").update(bytes.subarray(0, -4)).digest("hex"),
    });
  });

  test("opens a single file by name, and a folder whose only weights have another name", async () => {
    const folder = placeOf(temporaryFolder());
    writeSafetensors(join(folder, "other.safetensors"), [tensor("a")]);
    expect((await open(folder)).files.map((file) => file.name)).toEqual(["other.safetensors"]);
    writeSafetensors(join(folder, "another.safetensors"), [tensor("b")]);
    const named = await openCheckpoint(store, { root: folder, file: "another.safetensors" }, "m");
    expect([...named.tensors.keys()]).toEqual(["b"]);
    expect(named.config).toBeUndefined();
  });

  test("refuses a single file beside shards, whole or not, and passes over an index without any of its shards", async () => {
    const folder = sharded();
    writeSafetensors(join(folder, "model.safetensors"), [tensor("c")]);
    const twice = {
      code: "checkpoint/ambiguous-weights",
      message: expect.stringMatching(/model\.safetensors, which transformers loads, and \d of the 2 shards/),
      hint: expect.stringMatching(/Delete .*model\.safetensors, or model\.safetensors\.index\.json/),
    };
    await expect(open(folder)).rejects.toMatchObject(twice);
    fs.rmSync(join(folder, first!));
    await expect(open(folder)).rejects.toMatchObject(twice);
    fs.rmSync(join(folder, second!));
    expect([...(await open(folder)).tensors.keys()]).toEqual(["c"]);
  });

  test("takes what transformers loads where it would pass over the rest", async () => {
    const beside = async (folder: string, ...names: string[]) => {
      for (const name of names) writeSafetensors(join(folder, name), [tensor("c")]);
      return [...(await open(folder)).tensors.keys()];
    };
    const others = ["consolidated.safetensors", "model.fp16.safetensors", "consolidated-00001-of-00002.safetensors"];
    expect(await beside(sharded(), ...others)).toEqual(["a", "b"]);
    expect(await beside(single(), ...others, first!)).toEqual([...(await open(single())).tensors.keys()]);
    // An index of the only file says no more than the file.
    const folder = single();
    const weight_map = Object.fromEntries(
      [...(await open(folder)).tensors.keys()].map((name) => [name, "model.safetensors"]),
    );
    fs.writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map }));
    expect((await open(folder)).files.map(({ name }) => name)).toEqual(["model.safetensors"]);
  });

  test.each([
    ["model.safetensors", single],
    ["shards", sharded],
  ] as const)(
    "refuses %s beside an adapter, in place of which transformers would load the adapter's base",
    async (_, made) => {
      const folder = made();
      fs.writeFileSync(join(folder, "adapter_config.json"), "{}");
      await open(folder);
      writeSafetensors(join(folder, "adapter_model.safetensors"), [tensor("x.lora_A.weight")]);
      await expect(open(folder)).rejects.toMatchObject({
        code: "checkpoint/ambiguous-weights",
        message: expect.stringContaining("adapter_model.safetensors"),
      });
    },
  );

  test("finds shards in folders below the index", async () => {
    const folder = temporaryFolder();
    writeSafetensors(join(folder, "weights", "x.safetensors"), [tensor("a")]);
    fs.writeFileSync(join(folder, "model.safetensors.index.json"), '{"weight_map":{"a":"weights/x.safetensors"}}');
    expect((await open(folder)).files[0]?.name).toBe("weights/x.safetensors");
  });

  test.each<[string, string, () => string]>([
    [
      "checkpoint/shard-missing",
      "a shard that is not there",
      () => {
        const folder = sharded();
        fs.rmSync(join(folder, second!));
        return folder;
      },
    ],
    [
      "checkpoint/shard-extra",
      "a shard that the index does not name",
      () => {
        const folder = sharded();
        writeSafetensors(join(folder, "model-00003-of-00003.safetensors"), [tensor("c")]);
        return folder;
      },
    ],
    [
      "checkpoint/index-tensor-extra",
      "a tensor that the index does not name",
      () => {
        const folder = sharded();
        writeSafetensors(join(folder, second!), [tensor("b"), tensor("c")]);
        return folder;
      },
    ],
    [
      "checkpoint/index-tensor-extra",
      "a tensor in two shards",
      () => {
        const folder = sharded();
        writeSafetensors(join(folder, second!), [tensor("b"), tensor("a")]);
        return folder;
      },
    ],
    [
      "checkpoint/index-tensor-missing",
      "a tensor that its shard lacks",
      () => withIndex({ a: first, b: second, c: second }),
    ],
    ["checkpoint/index-path", "a way out of the folder", () => withIndex({ a: "../x.safetensors" })],
    ["checkpoint/index-path", "a way out from below", () => withIndex({ a: "x/../../y.safetensors" })],
    ["checkpoint/index-path", "an absolute path", () => withIndex({ a: "/etc/x.safetensors" })],
    ["checkpoint/index-path", "a drive", () => withIndex({ a: "C:x.safetensors" })],
    ["checkpoint/index-path", "a backslash", () => withIndex({ a: "..\\x.safetensors" })],
    ["checkpoint/index-path", "a NUL", () => withIndex({ a: "x\0.safetensors" })],
    ["checkpoint/index-path", "two spellings of one name", () => withIndex({ a: first, b: `./${first}` })],
    ["checkpoint/index-path", "an empty name", () => withIndex({ a: "" })],
    ["checkpoint/index-path", "a file of another kind", () => withIndex({ a: "pytorch_model.bin" })],
    ["checkpoint/index", "an index that is no object", () => withIndex("[]")],
    ["checkpoint/index", "an index without weight_map", () => withIndex('{"metadata":{}}')],
    ["checkpoint/index", "an empty weight_map", () => withIndex({})],
    ["checkpoint/index", "a weight_map that is no object", () => withIndex('{"weight_map":3}')],
    ["checkpoint/index", "a number as file", () => withIndex({ a: 3 })],
    [
      "checkpoint/duplicate-tensor",
      "a tensor twice in the index",
      () => withIndex(`{"weight_map":{"a":"${first}","\\u0061":"${first}"}}`),
    ],
    ["checkpoint/duplicate-key", "two weight_maps", () => withIndex(`{"weight_map":{"a":"${first}"},"weight_map":{}}`)],
    ["checkpoint/proto-key", "__proto__ in the index", () => withIndex('{"metadata":{"x":{"__proto__":1}}}')],
    ["checkpoint/tensor-name", "an empty name in the index", () => withIndex({ "": first })],
    ["checkpoint/json-depth", "metadata nested too deeply", () => withIndex(`{"metadata":${"[".repeat(100_000)}`)],
    ["checkpoint/json", "an index cut short", () => withIndex('{"weight_map":{"a"')],
    ["checkpoint/json", "something after the index", () => withIndex(`{"weight_map":{"a":"${first}"}}x`)],
    [
      "checkpoint/index-missing",
      "shards without their index",
      () => {
        const folder = sharded();
        fs.rmSync(join(folder, "model.safetensors.index.json"));
        return folder;
      },
    ],
    [
      "checkpoint/ambiguous-weights",
      "several files of other names",
      () => {
        const folder = temporaryFolder();
        for (const name of ["x", "y"]) writeSafetensors(join(folder, `${name}.safetensors`), [tensor("a")]);
        return folder;
      },
    ],
    ["checkpoint/adapter", "an adapter", () => "examples/models/tiny-lora-go"],
    [
      "checkpoint/pickle",
      "pickles only",
      () => {
        const folder = temporaryFolder();
        for (const name of ["config.json", "pytorch_model.bin"]) fs.writeFileSync(join(folder, name), "{}");
        return folder;
      },
    ],
    [
      "checkpoint/no-weights",
      "no weights",
      () => {
        const folder = temporaryFolder();
        for (const name of ["config.json", "training_args.bin"]) fs.writeFileSync(join(folder, name), "{}");
        return folder;
      },
    ],
    [
      "checkpoint/no-weights",
      "a file without tensors",
      () => {
        const folder = temporaryFolder();
        writeSafetensors(join(folder, "model.safetensors"), []);
        return folder;
      },
    ],
    [
      "checkpoint/truncated",
      "a file of seven bytes",
      () => {
        const folder = temporaryFolder();
        fs.writeFileSync(join(folder, "model.safetensors"), "1234567");
        return folder;
      },
    ],
    [
      "checkpoint/truncated",
      "a header that is cut short",
      () => {
        const folder = temporaryFolder();
        writeRawSafetensors(join(folder, "model.safetensors"), "{}", new Uint8Array(), 3n);
        return folder;
      },
    ],
    [
      "checkpoint/offsets-past-end",
      "data that is cut short",
      () => {
        const folder = single();
        const path = join(folder, "model.safetensors");
        fs.truncateSync(path, fs.statSync(path).size - 1);
        return folder;
      },
    ],
    [
      "checkpoint/header-too-large",
      "a header of more than 100 MB",
      () => {
        const folder = temporaryFolder();
        writeRawSafetensors(join(folder, "model.safetensors"), "{}", new Uint8Array(), 100_000_001n);
        fs.truncateSync(join(folder, "model.safetensors"), 200_000_000);
        return folder;
      },
    ],
    [
      "checkpoint/header-too-large",
      "a header length of 2^64 - 1",
      () => {
        const folder = temporaryFolder();
        writeRawSafetensors(join(folder, "model.safetensors"), "{}", new Uint8Array(), 2n ** 64n - 1n);
        return folder;
      },
    ],
    [
      "checkpoint/link-out",
      "a link out of the folder",
      () => {
        const folder = temporaryFolder();
        fs.symlinkSync(join(single(), "model.safetensors"), join(folder, "model.safetensors"));
        return folder;
      },
    ],
    [
      "checkpoint/link-out",
      "a folder of shards that is a link out",
      () => {
        const folder = temporaryFolder();
        fs.symlinkSync(single(), join(folder, "weights"));
        const index = '{"weight_map":{"a":"weights/model.safetensors"}}';
        fs.writeFileSync(join(folder, "model.safetensors.index.json"), index);
        return folder;
      },
    ],
    [
      "checkpoint/link-out",
      "a config that is a link out",
      () => {
        const folder = single();
        fs.symlinkSync(join(sharded(), "config.json"), join(folder, "config.json"));
        return folder;
      },
    ],
    [
      "checkpoint/link-out",
      "a tokenizer that is a link out",
      () => {
        const folder = single();
        fs.symlinkSync(join(sharded(), "config.json"), join(folder, "tokenizer.json"));
        return folder;
      },
    ],
    ["checkpoint/config", "a config that is no object", () => withConfig("[]")],
    ["checkpoint/config", "a config of more than 10 MB", () => withConfig(`{"a":"${"a".repeat(10_000_000)}"}`)],
    ["checkpoint/json", "a config that is no JSON", () => withConfig("{'a': 1}")],
    [
      "checkpoint/json-depth",
      "a config nested too deeply",
      () => withConfig(`{"a":${"[".repeat(65)}${"]".repeat(65)}}`),
    ],
    ["checkpoint/proto-key", "a config with __proto__", () => withConfig('{"a":[{"__proto__":{}}]}')],
  ])("refuses with %s: %s", async (code, _what, make) => {
    await expect(open(make())).rejects.toMatchObject({
      name: "CheckpointError",
      code,
      message: expect.stringMatching(/^m\b/),
      hint: expect.stringMatching(/./),
    });
  });

  test.each([
    ["config.json", "\uFEFF{}", "utf8", "m: config.json: a byte order mark (ef bb bf) stands before the JSON"],
    [
      "config.json",
      "\uFEFF{}",
      "utf16le",
      "m: config.json: a byte order mark of UTF-16 (ff fe) stands before the JSON",
    ],
    [
      "model.safetensors.index.json",
      "\uFEFF{}",
      "utf8",
      "m: model.safetensors.index.json: a byte order mark (ef bb bf) stands before the JSON",
    ],
  ] as const)("says that a byte order mark is in the way: %s, %j in %s", async (name, text, encoding, message) => {
    const folder = sharded();
    fs.writeFileSync(join(folder, name), text, encoding);
    await expect(open(folder)).rejects.toMatchObject({
      code: "checkpoint/json",
      message: expect.stringMatching(message.replace(/[.()]/g, "\\$&")),
    });
  });

  test("takes a folder whose name goes on where the model's ends for another one", async () => {
    const folder = single();
    fs.cpSync(folder, `${folder}-2`, { recursive: true });
    onTestFinished(() => fs.rmSync(`${folder}-2`, { recursive: true }));
    fs.rmSync(join(folder, "model.safetensors"));
    fs.symlinkSync(join(`${folder}-2`, "model.safetensors"), join(folder, "model.safetensors"));
    await expect(open(folder)).rejects.toMatchObject({ code: "checkpoint/link-out" });
  });

  test("follows links within the folder", async () => {
    const folder = single();
    fs.renameSync(join(folder, "model.safetensors"), join(folder, "real"));
    fs.symlinkSync("real", join(folder, "model.safetensors"));
    expect((await open(folder)).files[0]).toMatchObject({ name: "model.safetensors", path: join(folder, "real") });
  });

  test("tells how to get a file in place of which git left a pointer", async () => {
    const folder = temporaryFolder();
    fs.writeFileSync(join(folder, "model.safetensors"), "version https://git-lfs.github.com/spec/v1\n");
    await expect(open(folder)).rejects.toMatchObject({ hint: expect.stringContaining("git lfs pull") });
  });

  test("tells how to convert a pickle", async () => {
    const folder = temporaryFolder();
    fs.writeFileSync(join(folder, "model.pt"), "");
    await expect(open(folder)).rejects.toMatchObject({ hint: expect.stringContaining("safe_serialization=True") });
  });

  test.each([
    [["pytorch_model.bin"], "pytorch_model*.bin", "model.safetensors"],
    [
      ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"],
      "pytorch_model*.bin",
      "model.safetensors",
    ],
    [["pytorch_model.bin", "extra.bin", "optimizer.bin"], "pytorch_model*.bin", "model.safetensors"],
    [["consolidated.00.pth"], "consolidated.00.pth", "consolidated.00.safetensors"],
    [["last.ckpt"], "last.ckpt", "last.safetensors"],
  ])(
    "the command for pickles %j reads them without running their code, and writes beside them",
    async (names, from, to) => {
      const folder = join(temporaryFolder(), "it's a model");
      fs.mkdirSync(folder);
      for (const name of [...names, "training_args.bin", "model.gguf"]) fs.writeFileSync(join(folder, name), "");
      const error = await open(folder).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "checkpoint/pickle" });
      const command = /python3 -c .*?"pt"}\)' .*?(?=; or)/.exec((error as CheckpointError).hint)?.[0];
      expect(command).toContain("weights_only=True");
      // What trainers put around the tensors.
      for (const key of ["state_dict", "model_state_dict", "model", "module"]) expect(command).toContain(`"${key}"`);
      expect(wordsOf(command!).slice(3)).toEqual([
        join(folder, to),
        ...(from.includes("*") ? names.filter((name) => name.startsWith("pytorch_model")) : [from]).map((name) =>
          join(folder, name),
        ),
      ]);
    },
  );

  test("what files say in their metadata is what they say together, and what they do not agree on is named", async () => {
    const folder = temporaryFolder();
    const bytes = new Uint8Array(4);
    const shared = { format: "pt", "w.weight": "{}" };
    const write = (name: string, tensor: string, metadata: Record<string, string>) =>
      writeSafetensors(join(folder, name), [{ name: tensor, dtype: "F32", shape: [1], bytes }], metadata);
    write("a.safetensors", "x", { ...shared, tensor_names: '["x", "w"]', owner: "one" });
    write("b.safetensors", "y", { ...shared, tensor_names: '["w", "y"]', owner: "two" });
    const index = { weight_map: { x: "a.safetensors", y: "b.safetensors" } };
    fs.writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify(index));
    const { metadata, unclearMetadata } = await open(folder);
    expect(metadata).toEqual(new Map(Object.entries({ ...shared, tensor_names: '["x","w","y"]', owner: "one" })));
    expect(unclearMetadata).toEqual(["owner"]);
  });

  test.each([
    [["model-Q4_K_M.gguf"], ""],
    [["model-00001-of-00002.gguf", "model-00002-of-00002.gguf"], "llama-gguf-split --merge"],
  ])("GGUF files %j are answered with the command that makes values of them", async (names, also) => {
    const folder = temporaryFolder();
    for (const name of names) fs.writeFileSync(join(folder, name), "");
    const error = (await open(folder).catch((thrown: unknown) => thrown)) as CheckpointError;
    expect(error).toMatchObject({ code: "checkpoint/gguf", hint: expect.stringContaining(also) });
    const command = /python3 -c .*/.exec(error.hint)?.[0];
    expect(wordsOf(command!).slice(3)).toEqual([folder, names[0], `${folder}-safetensors`]);
  });

  test.each([
    ["w.weight", "F8_E4M3", "w.weight_scale_inv"],
    ["w.weight", "F8_E5M2", "w.weight_scale"],
    ["w.weight_packed", "U8", "w.weight_scale"],
    ["w.weight", "F8_E4M3", "w.scale_weight"],
    ["experts.down", "F8_E4M3", "experts.down_scale_inv"],
  ])("refuses %s (%s) with its scale %s, also from another shard", async (name, dtype, scale) => {
    const folder = placeOf(temporaryFolder());
    const scales = { name: scale, dtype: "F32", shape: [1], bytes: new Uint8Array(4) };
    writeSharded(folder, [[tensor(name, dtype)], [scales]]);
    await expect(open(folder)).rejects.toMatchObject({
      code: "checkpoint/block-scaled",
      message: expect.stringMatching(new RegExp(`"${name}".*"${scale}"`)),
    });
    expect((await openCheckpoint(store, { root: folder }, "m", { allowScaledFp8: true })).tensors.size).toBe(2);
  });

  test("takes fp8 without scales, and scales of tensors that are no codes, for what they are", async () => {
    const folder = temporaryFolder();
    const wide = (name: string) => ({ name, dtype: "BF16", shape: [2], bytes: new Uint8Array(4) });
    const tensors = [tensor("w.weight", "F8_E4M3"), tensor("v.weight_scale"), wide("u.weight"), wide("u.weight_scale")];
    writeSafetensors(join(folder, "model.safetensors"), tensors);
    expect((await open(folder)).tensors.size).toBe(4);
  });
});

/** As the shell would give them to the command. */
function wordsOf(command: string): string[] {
  const printed = execFileSync("sh", ["-c", `for word in ${command}; do printf '%s\\n' "$word"; done`]).toString();
  return printed.trimEnd().split("\n");
}

function withConfig(text: string): string {
  const folder = single();
  fs.writeFileSync(join(folder, "config.json"), text);
  return folder;
}

test("readSafetensorsHeader gives the metadata and a StorageError where there is no file", async () => {
  const folder = temporaryFolder();
  writeSafetensors(join(folder, "x"), [tensor("a")], { by: "us" });
  expect([...(await readSafetensorsHeader(store, placeOf(join(folder, "x")), "x")).metadata]).toEqual([["by", "us"]]);
  await expect(readSafetensorsHeader(store, placeOf(join(folder, "y")), "y")).rejects.toMatchObject({
    code: "storage/not-found",
  });
});
