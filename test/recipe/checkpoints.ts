/** Checkpoints for tests of the recipe room: of a directory's headers, or made up. No tensor byte behind them. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Checkpoint,
  type Dtype,
  elementBits,
  type StoredDtype,
  type TensorEntry,
} from "../../checkpoint/index.ts";
import { placeOf } from "../../storage/index.ts";
import { readCheckpoint } from "../support/read-safetensors.ts";

export type TensorShape = readonly [name: string, shape: readonly number[], dtype?: StoredDtype];

/** Tensors in the order given, one after another in one file. */
export function checkpointOf(tensors: readonly TensorShape[], config?: Record<string, unknown>): Checkpoint {
  const entries = new Map<string, TensorEntry>();
  let offsetBytes = 8;
  for (const [name, shape, dtype = "BF16"] of tensors) {
    const elementCount = shape.reduce((product, size) => product * size, 1);
    const sizeBytes = (elementCount * elementBits(dtype)) / 8;
    entries.set(name, { name, dtype, shape, elementCount, file: 0, offsetBytes, sizeBytes });
    offsetBytes += sizeBytes;
  }
  const file = {
    name: "model.safetensors",
    path: placeOf("/nowhere/model.safetensors"),
    sizeBytes: offsetBytes,
    version: "1",
    headerSha256: "",
  };
  return { root: placeOf("/nowhere"), files: [file], tensors: entries, config, companions: [] };
}

/** Embedding, `layers` layers of two tensors, norm and head. */
export function tinyLlama(layers: number, rows = 10, dtype: Dtype = "BF16"): TensorShape[] {
  const layered = Array.from({ length: layers }, (_, i): TensorShape[] => [
    [`model.layers.${i}.mlp.up_proj.weight`, [6, 4], dtype],
    [`model.layers.${i}.self_attn.q_proj.weight`, [4, 4], dtype],
  ]);
  return [
    ["model.embed_tokens.weight", [rows, 4], dtype],
    ...layered.flat(),
    ["model.norm.weight", [4], dtype],
    ["lm_head.weight", [rows, 4], dtype],
  ];
}

/** The headers of a real model; its offsets are made up. */
export function checkpointFromDirectory(directory: string): Checkpoint {
  const config = join(directory, "config.json");
  const tensors = [...readCheckpoint(directory)].map(
    ([name, { shape, dtype }]): TensorShape => [name, shape, dtype as StoredDtype],
  );
  return checkpointOf(tensors, existsSync(config) ? JSON.parse(readFileSync(config, "utf8")) : undefined);
}
