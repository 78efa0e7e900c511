import type { TensorEntry } from "../../checkpoint/index.ts";

/** Tensors whose names differ in numbers only, and that have one dtype and shape. */
export interface TensorGroup {
  /** model.layers.{0-31}.mlp.up_proj.weight */
  readonly pattern: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly tensors: number;
  readonly sizeBytes: number;
}

/** In the order in which the first of each group stands. */
export function tensorGroups(tensors: Iterable<TensorEntry>): TensorGroup[] {
  const groups = new Map<string, TensorEntry[]>();
  for (const tensor of tensors) {
    const key = JSON.stringify([tensor.name.replaceAll(numberInName, ".*"), tensor.dtype, tensor.shape]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [tensor]);
    else group.push(tensor);
  }
  return [...groups.values()].map((group) => {
    const [first] = group;
    if (first === undefined) throw new Error("a group has a first tensor");
    return {
      pattern: patternOf(group.map(({ name }) => name)),
      dtype: first.dtype,
      shape: first.shape,
      tensors: group.length,
      sizeBytes: group.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    };
  });
}

const numberInName = /\.\d+(?=\.|$)/g;

function patternOf(names: readonly string[]): string {
  const [first = ""] = names;
  const numbers = names.map((name) => [...name.matchAll(numberInName)].map(([text]) => Number(text.slice(1))));
  let place = 0;
  return first.replaceAll(numberInName, () => {
    const found = [...new Set(numbers.map((all) => all[place] ?? 0))].sort((a, b) => a - b);
    place++;
    return `.${rangesText(found)}`;
  });
}

/** 7, {0-31}, {0-2,5,9-11}; many ranges end in dots. */
function rangesText(numbers: readonly number[]): string {
  const [only] = numbers;
  if (numbers.length === 1) return String(only);
  const ranges: [number, number][] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last !== undefined && number === last[1] + 1) last[1] = number;
    else ranges.push([number, number]);
  }
  const texts = ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`));
  return `{${texts.slice(0, RANGES_SHOWN).join(",")}${texts.length > RANGES_SHOWN ? ",…" : ""}}`;
}

const RANGES_SHOWN = 4;
