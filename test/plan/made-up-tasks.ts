import { type Dtype, dtypeBytes } from "../../checkpoint/index.ts";
import type { ModelSource, TensorSource, TensorTask } from "../../merge/work/index.ts";

/** A linear merge of `models` equal models, or a copy where the dtype is no float. There is no file behind it. */
export function taskOf(name: string, shape: readonly number[], dtype: Dtype, models = 2): TensorTask {
  const source: TensorSource = {
    input: 0,
    file: 0,
    tensor: name,
    dtype,
    offsetBytes: 0,
    storedRowLength: shape.at(-1) ?? 1,
  };
  const kind = /^[FB]F?[0-9]/.test(dtype) ? "merge" : "copy";
  const sources = Array.from(
    { length: models },
    (_, index): ModelSource => ({
      ...source,
      input: index,
      index,
      parameters: { weight: 1 },
    }),
  );
  return { name, kind, method: "linear", dtype, shape, parameters: { normalize: true }, models: sources };
}

export function bytesOf({ shape, dtype }: TensorTask): number {
  return shape.reduce((product, size) => product * size, 1) * dtypeBytes[dtype];
}
