import {
  type Checkpoint,
  type FloatDtype,
  isFloatDtype,
  layerCount,
  layerCountKey,
  splitLayer,
  vocabularySizeKeys,
} from "../../checkpoint/index.ts";
import { geometryOf, type Plan, sourcesOf, type TensorSource, type TensorTask } from "../../merge/work/index.ts";
import { PublishError } from "./errors.ts";
import { withJsonValue, withoutJsonKey } from "./json-text.ts";
import { CONFIG_NAME } from "./layout.ts";

type Config = Readonly<Record<string, unknown>>;

/** As torch calls them, which is how configs name them. */
const torchNames: Readonly<Record<FloatDtype, string>> = {
  F64: "float64",
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  F8_E4M3: "float8_e4m3fn",
  F8_E5M2: "float8_e5m2",
};

/** Lists that hold one entry a layer, in the families in use; transformers refuses a config where their length is wrong. */
const perLayerKeys = ["layer_types", "mlp_layer_types", "no_rope_layers", "attention_layers"];

/**
 * Whether the number of layers can be put into the config. For plan time.
 * @throws PublishError `publish/layer-count`
 */
export function checkLayerCount(plan: Plan, checkpoint: Pick<Checkpoint, "config" | "tensors">): void {
  const { config } = checkpoint;
  const uncounted = plan.stacks?.find(
    ({ layerCount: after, layersBefore, configKeys }) => after !== layersBefore && configKeys.length === 0,
  );
  if (config !== undefined && uncounted !== undefined) {
    throw noLayerKey(plan, `the layers of ${uncounted.prefix}`, uncounted.layersBefore, uncounted.layerCount);
  }
  if (config === undefined || plan.layerCount === undefined || layerCountKey(config) !== undefined) return;
  const before = layerCount(checkpoint);
  if (before === plan.layerCount) return;
  throw noLayerKey(plan, "layers", before, plan.layerCount);
}

function noLayerKey(plan: Plan, what: string, before: number, after: number): PublishError {
  const label = plan.inputs[plan.definingInput]?.label ?? "";
  return new PublishError(
    "publish/layer-count",
    `${label}: ${CONFIG_NAME} has no key for the number of ${what}, which goes from ${before} to ${after}`,
    { hint: "Add the key of its model type (num_hidden_layers, n_layer, num_layers, n_layers) to that config.json." },
  );
}

/** The defining input's config for the output: layer count, dtype and vocabulary size set, all else as it stands. */
export function outputConfig(text: string, config: Config, plan: Plan): string {
  const key = layerCountKey(config);
  let edited = text;
  if (key !== undefined && plan.layerCount !== undefined && plan.layerCount !== key.count) {
    edited = withJsonValue(edited, key.path, plan.layerCount);
    edited = withLayerLists(edited, config, key.path.slice(0, -1), key.count, { plan, layerCount: plan.layerCount });
  }
  for (const stack of plan.stacks ?? []) {
    for (const path of stack.configKeys) {
      if (valueAt(config, path) === stack.layerCount) continue;
      edited = withJsonValue(edited, path, stack.layerCount);
      edited = withLayerLists(edited, config, path.slice(0, -1), stack.layersBefore, { plan, ...stack });
    }
  }
  // The language model's part of a config of several towers, or the config itself.
  const nested = key === undefined || key.path.length === 1 ? undefined : key.path.slice(0, -1);
  edited = withDtype(edited, config, nested, plan);
  if (isDequantised(plan)) edited = withoutJsonKeys(edited, config, ["quantization_config", "compression_config"]);
  if (plan.embeddingRows === undefined) return edited;
  for (const path of vocabularySizeKeys(config)) edited = withJsonValue(edited, path, plan.embeddingRows);
  return edited;
}

function withDtype(text: string, config: Config, nested: readonly string[] | undefined, plan: Plan): string {
  const dtype = mainDtype(plan);
  if (dtype === undefined) return text;
  const paths = (nested === undefined ? [[]] : [[], nested])
    .flatMap((path) => [
      [...path, "dtype"],
      [...path, "torch_dtype"],
    ])
    .filter((path) => has(config, path));
  // Both old and new versions of transformers read torch_dtype.
  if (paths.length === 0) return withJsonValue(text, ["torch_dtype"], torchNames[dtype]);
  return paths.reduce((edited, path) => withJsonValue(edited, path, torchNames[dtype]), text);
}

/** Whether codes went in and only values come out: then the config must not promise codes. */
function isDequantised({ tasks }: Plan): boolean {
  const reads = (task: TensorTask): boolean =>
    sourcesOf(task).some((source) => {
      if (source.kind === "adapter") return source.base.kind === "scaled";
      return source.kind === "scaled" || (source.kind === "merged" && reads(source.task));
    });
  return tasks.some(reads) && !tasks.some(({ kind }) => kind === "codes");
}

/** Keys at the top, and in the language model's part of a config of several towers. */
function withoutJsonKeys(text: string, config: Config, keys: readonly string[]): string {
  const key = layerCountKey(config);
  const nested = key === undefined ? [] : key.path.slice(0, -1);
  return [[], nested].reduce(
    (edited, path) =>
      keys.reduce((now, name) => (has(config, [...path, name]) ? withoutJsonKey(now, [...path, name]) : now), edited),
    text,
  );
}

/** The float dtype that most elements of the output have. */
function mainDtype(plan: Plan): FloatDtype | undefined {
  const elements = new Map<FloatDtype, number>();
  const packed = new Set(plan.tasks.flatMap(({ name, dtype }) => (isFloatDtype(dtype) ? [] : [moduleOf(name), name])));
  for (const { name, dtype, shape, kind } of plan.tasks) {
    // Codes and their scales say nothing of the dtype that a model computes in, neither those of fp8 nor those of integers.
    if (kind !== "codes" && kind !== "scales" && isFloatDtype(dtype) && !packed.has(moduleOf(name)))
      elements.set(dtype, (elements.get(dtype) ?? 0) + geometryOf(shape).elementCount);
  }
  let main: FloatDtype | undefined;
  for (const [dtype, count] of elements) {
    if (main === undefined || count > (elements.get(main) ?? 0)) main = dtype;
  }
  return main;
}

function moduleOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf(".")));
}

/** Per-layer lists follow the layers: entry j is that of the layer which output layer j was made from. */
function withLayerLists(
  text: string,
  config: Config,
  parent: readonly string[],
  before: number,
  stack: OutputStack,
): string {
  const sources = sourceLayers(stack);
  let edited = text;
  for (const key of perLayerKeys) {
    const list = valueAt(config, [...parent, key]);
    if (!Array.isArray(list) || list.length !== before || sources.some((layer) => layer >= before)) continue;
    edited = withJsonValue(
      edited,
      [...parent, key],
      sources.map((layer) => list[layer]),
    );
  }
  return edited;
}

interface OutputStack {
  readonly plan: Plan;
  readonly layerCount: number;
  /** Left out: the only one that the models have. */
  readonly prefix?: string;
}

/** Per output layer the layer of the first source of its first tensor. */
function sourceLayers({ plan, layerCount: count, prefix }: OutputStack): readonly number[] {
  const layers = new Map<number, number>();
  for (const task of plan.tasks) {
    const split = splitLayer(task.name);
    const source = firstSource(task);
    if (split === undefined || source === undefined || layers.has(split.layer)) continue;
    if (prefix !== undefined && split.prefix !== prefix) continue;
    layers.set(split.layer, splitLayer(source.tensor)?.layer ?? split.layer);
  }
  return Array.from({ length: count }, (_, layer) => layers.get(layer) ?? layer);
}

/** Of a task, or of the task within it that makes its values. */
function firstSource(task: TensorTask): TensorSource | undefined {
  const source = task.base ?? task.models[0];
  return source?.kind === "merged" ? firstSource(source.task) : source;
}

function has(config: Config, path: readonly string[]): boolean {
  return valueAt(config, path) !== undefined;
}

function valueAt(config: Config, path: readonly string[]): unknown {
  let value: unknown = config;
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}
