import type { Checkpoint, TensorEntry } from "../../checkpoint/index.ts";
import { openStores, type Place, placeOf, type Readable, type Source } from "../../storage/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { reportError } from "../report-error.ts";
import { openPath } from "./open-path.ts";
import { compareTensors, type TensorDifference } from "./tensor-difference.ts";
import { counted, textTable } from "./text-table.ts";

export interface DiffOptions {
  readonly json: boolean;
}

/** One tensor of either checkpoint. */
type TensorResult =
  | { readonly event: "only-in"; readonly name: string; readonly side: "a" | "b" }
  | ({ readonly event: "tensor"; readonly name: string } & Sides & TensorDifference)
  | ({ readonly event: "shapes-differ"; readonly name: string } & Sides);

interface Sides {
  readonly a: Side;
  readonly b: Side;
}

interface Side {
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** `deltaworks diff A B`: exit 0 if all tensors have equal names, dtypes, shapes and bits, else 1. */
export async function diffCommand([a = "", b = ""]: readonly string[], { json }: DiffOptions, io: Io): Promise<number> {
  try {
    const results = await compareAll(placeOf(a), placeOf(b), (result) => {
      if (json) io.stdout(`${JSON.stringify(result)}\n`);
    });
    const different = results.filter((result) => !isEqual(result));
    const equal = results.length - different.length;
    const summary = { event: "summary", tensors: results.length, equal, different: different.length };
    io.stdout(json ? `${JSON.stringify(summary)}\n` : resultText(different, results.length));
    return different.length === 0 ? exitCodes.done : exitCodes.failed;
  } catch (error) {
    return reportError(io, error, json);
  }
}

async function compareAll(a: Place, b: Place, tell: (result: TensorResult) => void): Promise<readonly TensorResult[]> {
  const store = openStores();
  const left = new OpenTensors(store, await openPath(store, a));
  const right = new OpenTensors(store, await openPath(store, b));
  try {
    const results: TensorResult[] = [];
    for (const name of new Set([...left.names(), ...right.names()])) {
      const result = await compare(name, left, right);
      tell(result);
      results.push(result);
    }
    return results;
  } finally {
    await left.close();
    await right.close();
  }
}

async function compare(name: string, left: OpenTensors, right: OpenTensors): Promise<TensorResult> {
  const a = left.entry(name);
  const b = right.entry(name);
  if (a === undefined || b === undefined) return { event: "only-in", name, side: a === undefined ? "b" : "a" };
  const sides = { a: { dtype: a.dtype, shape: a.shape }, b: { dtype: b.dtype, shape: b.shape } };
  if (a.shape.length !== b.shape.length || a.shape.some((length, k) => length !== b.shape[k])) {
    return { event: "shapes-differ", name, ...sides };
  }
  const difference = await compareTensors(
    { entry: a, file: await left.fileOf(a) },
    { entry: b, file: await right.fileOf(b) },
  );
  return { event: "tensor", name, ...sides, ...difference };
}

function isEqual(result: TensorResult): boolean {
  return result.event === "tensor" && result.equalBits;
}

function resultText(different: readonly TensorResult[], count: number): string {
  if (different.length === 0) return `equal: ${counted(count, "tensor")}, bit by bit\n`;
  const rows = different.map((result): readonly string[] => {
    if (result.event === "only-in") return [result.name, `only in ${result.side.toUpperCase()}`];
    const dtypes = result.a.dtype === result.b.dtype ? result.a.dtype : `${result.a.dtype} ${result.b.dtype}`;
    if (result.event === "shapes-differ") {
      return [result.name, dtypes, `[${result.a.shape.join(", ")}] against [${result.b.shape.join(", ")}]`];
    }
    const figures = [result.maxDifference, result.rmsDifference].map((figure) =>
      Number.isNaN(figure) ? "-" : figure.toPrecision(6),
    );
    return [result.name, dtypes, ...figures, result.cosine?.toFixed(9) ?? "-"];
  });
  const table = textTable([["tensor", "dtype", "max", "rms", "cosine"], ...rows]);
  return `${table}\n${counted(different.length, "tensor")} of ${count.toLocaleString("en-US")} differ\n`;
}

/** The tensors of a checkpoint, with files that are opened once, when first needed. */
class OpenTensors {
  readonly #store: Source;
  readonly #checkpoint: Checkpoint;
  readonly #files = new Map<number, Readable>();

  constructor(store: Source, checkpoint: Checkpoint) {
    this.#store = store;
    this.#checkpoint = checkpoint;
  }

  names(): Iterable<string> {
    return this.#checkpoint.tensors.keys();
  }

  entry(name: string): TensorEntry | undefined {
    return this.#checkpoint.tensors.get(name);
  }

  async fileOf(entry: TensorEntry): Promise<Readable> {
    const open = this.#files.get(entry.file);
    if (open !== undefined) return open;
    const path = this.#checkpoint.files[entry.file]?.path;
    if (path === undefined) throw new Error(`tensor ${entry.name} is in no file of the checkpoint`);
    const file = await this.#store.open(path);
    this.#files.set(entry.file, file);
    return file;
  }

  async close(): Promise<void> {
    for (const file of this.#files.values()) await file.close();
  }
}
