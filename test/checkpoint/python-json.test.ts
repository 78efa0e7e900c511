import * as fs from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ExactNumber,
  openCheckpoint,
  parseExactJson,
  parsePythonJson,
  pythonJsonText,
} from "../../checkpoint/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";

/** As json.dumps of Python writes it. */
const text = `{"time_step_limit": [0.0, Infinity], "low": -Infinity, "none": NaN, "model_max_length": 1000000000000000019884624838656,
 "eps": 1e-05, "theta": 10000.0, "text": "Infinity, \\\\\\"NaN\\", -Infinity", "half": "\\ud83d", "NaN": 1, "n": 1, "n": 2}`;

test("Infinity, -Infinity and NaN are numbers, and words in strings; of equal keys the last counts", () => {
  expect(parsePythonJson(text)).toEqual({
    time_step_limit: [0, Number.POSITIVE_INFINITY],
    low: Number.NEGATIVE_INFINITY,
    none: Number.NaN,
    model_max_length: 1e30,
    eps: 1e-5,
    theta: 10000,
    text: 'Infinity, \\"NaN", -Infinity',
    half: "\ud83d",
    NaN: 1,
    n: 2,
  });
});

test("numbers are written as they were read", () => {
  const read = parseExactJson(text) as Record<string, unknown>;
  expect(read.model_max_length).toEqual(new ExactNumber("1000000000000000019884624838656"));
  expect(read.n).toBe(2);
  const written = pythonJsonText(read);
  for (const member of [
    '"time_step_limit":[0.0,Infinity]',
    '"low":-Infinity',
    '"none":NaN',
    '"eps":1e-05',
    '"theta":10000.0',
    '"half":"\\ud83d"',
  ])
    expect(written).toContain(member);
  expect(written).toContain('"model_max_length":1000000000000000019884624838656');
  expect(parsePythonJson(written)).toEqual(parsePythonJson(text));
});

test("of what is JSON it makes what JSON.parse and JSON.stringify make", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(0, 2), (value, width) => {
      const plain = JSON.stringify(value, null, width);
      expect(pythonJsonText(value, width)).toBe(plain);
      expect(parsePythonJson(plain)).toEqual(JSON.parse(plain));
      expect(pythonJsonText(parseExactJson(plain), width)).toBe(plain);
    }),
  );
});

test.each(["Infinit", "[Infinity", "-NaN", "+Infinity", "[1.2.3]", "[01]", "[- 1]", "InfinityNaN", "[1 Infinity]"])(
  "%s is no JSON of Python's",
  (wrong) => {
    expect(() => parsePythonJson(wrong)).toThrow(SyntaxError);
    expect(() => parseExactJson(wrong)).toThrow(SyntaxError);
  },
);

describe("a model's files", () => {
  function model(files: Readonly<Record<string, string>>): string {
    const folder = temporaryFolder();
    writeSafetensors(join(folder, "model.safetensors"), [
      { name: "a", dtype: "U8", shape: [4], bytes: new Uint8Array(4) },
    ]);
    for (const [name, content] of Object.entries(files)) fs.writeFileSync(join(folder, name), content);
    return folder;
  }
  const open = (folder: string) => openCheckpoint(new FileStore(), { root: placeOf(folder) }, "m");

  test("config.json is read as Python reads it", async () => {
    expect((await open(model({ "config.json": text }))).config).toMatchObject({
      low: Number.NEGATIVE_INFINITY,
      half: "\ud83d",
    });
    const digits = "9".repeat(4300);
    expect((await open(model({ "config.json": `{"n": ${digits}}` }))).config).toEqual({ n: Number.POSITIVE_INFINITY });
  });

  test.each(['{"a": Infinit}', '{"a": nan}', '{"a": -NaN}', '{"a": +Infinity}', '{"a": "\\ud8"}', "{Infinity: 1}"])(
    "what Python would not read either is refused: %s",
    async (config) => {
      await expect(open(model({ "config.json": config }))).rejects.toMatchObject({ code: "checkpoint/json" });
    },
  );

  test("metadata of an index may hold such numbers", async () => {
    const index = '{"metadata": {"total_size": NaN, "x": [Infinity]}, "weight_map": {"a": "model.safetensors"}}';
    expect((await open(model({ "model.safetensors.index.json": index }))).tensors.size).toBe(1);
  });
});
