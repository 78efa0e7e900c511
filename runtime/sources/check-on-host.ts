import { MergeError } from "../../merge/work/index.ts";

/**
 * Looks at stored values that were widened on the host. `first`: number of the first of them in the tensor.
 * @throws MergeError merge/nonfinite
 */
export function checkOnHost(label: string, tensor: string, first: number, values: Float32Array): void {
  const index = values.findIndex((value) => !Number.isFinite(value));
  if (index !== -1) throw storedNonFinite(label, tensor, first + index, values[index] ?? Number.NaN);
}

/** What is said of a value of a file that is no number. */
export function storedNonFinite(label: string, tensor: string, element: number, value: number): MergeError {
  return new MergeError("merge/nonfinite", `${label}: ${tensor} holds ${nameOf(value)} at element ${element}`, {
    hint: "Check that model, or let such values through with --allow-nonfinite. Finished slices are kept.",
  });
}

function nameOf(value: number): string {
  return Number.isNaN(value) ? "NaN" : value > 0 ? "infinity" : "-infinity";
}
