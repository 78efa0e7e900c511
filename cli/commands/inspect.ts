import { type Checkpoint, layerCount } from "../../checkpoint/index.ts";
import { FileStore } from "../../storage/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { reportError } from "../report-error.ts";
import { openPath } from "./open-path.ts";
import { counted, readableBytes, textTable } from "./text-table.ts";

export interface InspectOptions {
  readonly json: boolean;
}

/** `deltaworks inspect PATH`: what stands in the headers of a checkpoint; no tensor byte is read. */
export async function inspectCommand(
  [path = ""]: readonly string[],
  { json }: InspectOptions,
  io: Io,
): Promise<number> {
  try {
    const checkpoint = await openPath(new FileStore(), path);
    io.stdout(json ? checkpointLines(checkpoint) : checkpointText(checkpoint));
    return exitCodes.done;
  } catch (error) {
    return reportError(io, error, json);
  }
}

function checkpointLines(checkpoint: Checkpoint): string {
  const tensors = tensorsOf(checkpoint).map((tensor) => ({ event: "tensor", ...tensor }));
  const lines = [...tensors, { event: "summary", ...summaryOf(checkpoint) }];
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}

function checkpointText(checkpoint: Checkpoint): string {
  const rows = tensorsOf(checkpoint).map(({ name, dtype, shape, sizeBytes, file }) => {
    return [name, dtype, `[${shape.join(", ")}]`, String(sizeBytes), file];
  });
  const table = textTable([["tensor", "dtype", "shape", "bytes", "file"], ...rows], [3]);
  return `${table}\n${summaryText(summaryOf(checkpoint))}`;
}

function tensorsOf(checkpoint: Checkpoint) {
  return [...checkpoint.tensors.values()].map(({ name, dtype, shape, sizeBytes, offsetBytes, file }) => {
    return { name, dtype, shape, sizeBytes, offsetBytes, file: checkpoint.files[file]?.name ?? "" };
  });
}

interface Summary {
  readonly modelType: string | undefined;
  readonly tensors: number;
  readonly parameters: number;
  readonly sizeBytes: number;
  readonly layers: number;
  /** Elements by dtype, most first. */
  readonly dtypes: Readonly<Record<string, number>>;
  readonly files: readonly { readonly name: string; readonly sizeBytes: number }[];
}

function summaryOf(checkpoint: Checkpoint): Summary {
  const dtypes = new Map<string, number>();
  let parameters = 0;
  let sizeBytes = 0;
  for (const tensor of checkpoint.tensors.values()) {
    dtypes.set(tensor.dtype, (dtypes.get(tensor.dtype) ?? 0) + tensor.elementCount);
    parameters += tensor.elementCount;
    sizeBytes += tensor.sizeBytes;
  }
  const modelType = checkpoint.config?.model_type;
  return {
    modelType: typeof modelType === "string" ? modelType : undefined,
    tensors: checkpoint.tensors.size,
    parameters,
    sizeBytes,
    layers: layerCount(checkpoint),
    dtypes: Object.fromEntries([...dtypes].sort(([, a], [, b]) => b - a)),
    files: checkpoint.files.map(({ name, sizeBytes }) => ({ name, sizeBytes })),
  };
}

function summaryText({ modelType, tensors, parameters, sizeBytes, layers, dtypes, files }: Summary): string {
  const shares = Object.entries(dtypes).map(([dtype, elements]) => `${dtype} ${elements.toLocaleString("en-US")}`);
  return textTable([
    ...(modelType === undefined ? [] : [["model type", modelType]]),
    ["parameters", parameters.toLocaleString("en-US")],
    ["dtypes", shares.join(", ")],
    ["layers", String(layers)],
    ["tensors", `${counted(tensors, "tensor")}, ${readableBytes(sizeBytes)}`],
    ["files", files.map(({ name, sizeBytes }) => `${name} (${readableBytes(sizeBytes)})`).join(", ")],
  ]);
}
