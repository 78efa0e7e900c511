import { dtypeBytes } from "../../checkpoint/index.ts";
import { geometryOfTask, sourcesOf, type TensorTask } from "../work/index.ts";
import type { MethodDefinition, Reads } from "./definition.ts";

/**
 * Memory of a thread for the inputs of a tensor, that each is read once and not once a round: six models of a matrix of 1024 x 2816 in bf16
 * have room. More of it is larger than the caches, where reading again costs no more than finding what was kept.
 */
export const KEPT_INPUT_BYTES = 36 * 1024 * 1024;
/** Of more models no input is kept, so that memory does not depend on their number. */
const KEPT_MODELS_MAX = 16;

/** Whether the inputs of a tensor that is taken in as one range stay in memory from its first round to its last. */
export function keepsInputs(task: TensorTask, method: Pick<MethodDefinition, "reads">, limitBytes: number): boolean {
  if (task.models.length > KEPT_MODELS_MAX) return false;
  const { elementCount, rowLength } = geometryOfTask(task);
  const sources = sourcesOf(task);
  // What is made on the way takes other memory meanwhile; it is made anew.
  if (sources.some(({ kind, storedRowLength }) => kind !== undefined || storedRowLength !== rowLength)) return false;
  const sizeBytes = sources.reduce((sum, { dtype }) => sum + elementCount * dtypeBytes[dtype], 0);
  if (sizeBytes > limitBytes) return false;
  const { base, models } = method.reads(task, { parts: 1, ranges: 1 });
  return [base, models].flat().some((times) => times > 1);
}

/** How often what is kept is read. */
export function readsOfKept({ base, models, shared, samples = 0, ...others }: Reads): Reads {
  const once = (times: number) => Math.min(times, Number.isInteger(times) ? 1 : 1 + samples);
  return {
    ...others,
    base: once(base),
    models: typeof models === "number" ? once(models) : models.map(once),
    ...(shared === undefined ? {} : { shared: once(shared) }),
  };
}
