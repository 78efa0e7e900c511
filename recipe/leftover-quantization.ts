import {
  type Checkpoint,
  calibrationKind,
  isPlain,
  isQuantizerFile,
  type QuantizationEdit,
  quantizationEdits,
  quantizationParts,
} from "../checkpoint/index.ts";
import { geometryOf, sourcesOf, type TensorTask } from "../merge/work/index.ts";
import type { TextPlace } from "./errors.ts";
import type { Findings } from "./findings.ts";
import type { RecipeInput } from "./recipe.ts";

/** What the output must not take over of the defining input's words on quantisation: keys of its config, files beside it. */
export interface StaleQuantization {
  readonly edits: readonly QuantizationEdit[];
  readonly files: readonly string[];
}

export function staleQuantization(
  tasks: readonly TensorTask[],
  {
    config,
    tensors,
    companions = [],
  }: Pick<Checkpoint, "config" | "tensors"> & Partial<Pick<Checkpoint, "companions">>,
): StaleQuantization {
  const output = tasks.map(({ name, written, ...task }) => {
    const { dtype, shape } = written ?? task;
    return { name, dtype, shape, elementCount: geometryOf(shape).elementCount };
  });
  const files = companions.filter(isQuantizerFile);
  const names = new Set(output.map(({ name }) => name));
  const isMeasured = () => output.some((tensor) => calibrationKind(tensor, (name) => names.has(name)) !== undefined);
  const edits = quantizationEdits(config, output, tensors);
  return {
    edits: edits.length === 0 && tasks.some(({ kind }) => kind === "scales") ? scaleFormats(config) : edits,
    files: files.length > 0 && isPlain(config, output) && !isMeasured() ? files : [],
  };
}

/** What a config says of how scales are written ("ue8m0": as powers of two) does not hold for fresh ones, which are any F32. */
function scaleFormats(config: Checkpoint["config"]): readonly QuantizationEdit[] {
  return quantizationParts(config)
    .filter(({ part }) => Object.hasOwn(part, "scale_fmt"))
    .map(({ path }) => ({ path: [...path, "scale_fmt"], value: undefined }));
}

/** Warns of weights that are values already where they are read, and of which the config says otherwise. */
export function reportLeftover(
  { label, checkpoint }: Pick<RecipeInput, "label" | "checkpoint">,
  tasks: readonly TensorTask[],
  place: TextPlace,
  findings: Findings,
): void {
  const { edits, files } = staleQuantization(tasks, checkpoint);
  const copied = checkpoint.companions.filter((name) => isQuantizerFile(name) && !files.includes(name));
  for (const { path, value } of edits) {
    if (value === undefined) continue;
    const message = `${path.join(".")} in config.json of "${label}" tells of scales of a cache, which the output lacks`;
    const hint =
      copied.length === 0
        ? "It is null in the output."
        : `It is null in the output's config.json. ${copied.join(", ")} ${copied.length === 1 ? "is" : "are"} copied as it stands: correct there what is said of the cache.`;
    findings.warning("recipe/leftover-quantization", place, message, hint);
  }
  const removed = edits.filter(({ value }) => value === undefined);
  if ((removed.length === 0 && files.length === 0) || readsCodes(tasks)) return;
  const methods = [...new Set(removed.flatMap(({ method }) => (method === undefined ? [] : [`"${method}"`])))];
  const where = [...removed.map(({ path }) => `${path.join(".")} in config.json`), ...files];
  const says = `${where.join(", ")} of "${label}" ${where.length === 1 ? "says" : "say"} that it is quantised${methods.length === 0 ? "" : ` (${methods.join(", ")})`}`;
  const message = `${says}, and its weights are plain values: left out of the output`;
  const hint =
    "A loader would quantise the weights by it, or refuse them. Where that is meant, quantise the output, or put it back.";
  findings.warning("recipe/leftover-quantization", place, message, hint);
}

/** Whether codes go in: what tells of them is then not left over, but made wrong by the merge. */
function readsCodes(tasks: readonly TensorTask[]): boolean {
  return tasks.some((task) =>
    sourcesOf(task).some((source) => {
      if (source.kind === "adapter") return source.base.kind === "scaled";
      if (source.kind === "normed") return source.values.base.kind === "scaled";
      return source.kind === "scaled" || (source.kind === "merged" && readsCodes([source.task]));
    }),
  );
}
