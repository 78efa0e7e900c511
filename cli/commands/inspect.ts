import { type Checkpoint, type ModelFacts, modelFacts } from "../../checkpoint/index.ts";
import { openStores, placeOf } from "../../storage/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { reportError } from "../report-error.ts";
import { openPath } from "./open-path.ts";
import { tensorGroups } from "./tensor-groups.ts";
import { counted, readableBytes, readableCount, textTable } from "./text-table.ts";

export interface InspectOptions {
  readonly json: boolean;
  /** Every tensor a line. */
  readonly tensors: boolean;
}

/** `deltaworks inspect PATH`: what a checkpoint is, from its config and headers; no tensor byte is read. */
export async function inspectCommand(
  [path = ""]: readonly string[],
  { json, tensors }: InspectOptions,
  io: Io,
): Promise<number> {
  try {
    const checkpoint = await openPath(openStores(), placeOf(path));
    const facts = modelFacts(checkpoint);
    if (json) io.stdout(checkpointLines(checkpoint, facts));
    else {
      const width = io.columns ?? Number.POSITIVE_INFINITY;
      const table = tensors ? everyTensor(checkpoint, width) : groupsText(checkpoint, width);
      io.stdout(`${factsText(facts, checkpoint, width)}\n${table}`);
    }
    return exitCodes.done;
  } catch (error) {
    return reportError(io, error, json);
  }
}

function checkpointLines(checkpoint: Checkpoint, { elements, stacks, tensors, ...facts }: ModelFacts): string {
  const files = checkpoint.files.map(({ name, sizeBytes }) => ({ name, sizeBytes }));
  const layers = mainLayers(stacks);
  const summary = { event: "summary", ...facts, parameters: elements, tensors, layers, stacks, files };
  const lines = [...tensorsOf(checkpoint).map((tensor) => ({ event: "tensor", ...tensor })), summary];
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}

function mainLayers(stacks: ModelFacts["stacks"]): number {
  const main = stacks.find(({ configured }) => configured !== undefined) ?? stacks[0];
  return main?.configured ?? main?.layers ?? 0;
}

function everyTensor(checkpoint: Checkpoint, width: number): string {
  const rows = tensorsOf(checkpoint).map(({ name, dtype, shape, sizeBytes, file }) => {
    return [name, dtype, `[${shape.join(", ")}]`, String(sizeBytes), file];
  });
  return textTable([["tensor", "dtype", "shape", "bytes", "file"], ...rows], [3], { width, column: 0 });
}

function tensorsOf(checkpoint: Checkpoint) {
  return [...checkpoint.tensors.values()].map(({ name, dtype, shape, sizeBytes, offsetBytes, file }) => {
    return { name, dtype, shape, sizeBytes, offsetBytes, file: checkpoint.files[file]?.name ?? "" };
  });
}

/** Tensors of all layers and experts that are alike stand in one line. */
function groupsText({ tensors }: Checkpoint, width: number): string {
  const rows = tensorGroups(tensors.values()).map(({ pattern, dtype, shape, tensors: count, sizeBytes }) => {
    return [pattern, dtype, `[${shape.join(", ")}]`, String(count), readableBytes(sizeBytes)];
  });
  return textTable([["tensors", "dtype", "shape", "count", "size"], ...rows], [3, 4], { width, column: 0 });
}

function factsText(facts: ModelFacts, { files }: Checkpoint, width: number): string {
  const { architecture, modelType, elements, tensors, sizeBytes, dtypes, stacks, vocabulary, experts } = facts;
  const names = [architecture, modelType].filter((name) => name !== undefined);
  const shares = Object.entries(dtypes).map(([dtype, count]) => `${dtype} ${count.toLocaleString("en-US")}`);
  const rows: (readonly [string, string] | undefined)[] = [
    names.length > 0 ? ["model", names.join(", ")] : undefined,
    ["parameters", `${readableCount(elements)} (${elements.toLocaleString("en-US")})`],
    ["dtypes", shares.join(", ")],
    facts.quantisation === undefined ? undefined : ["quantised", facts.quantisation],
    ["layers", stacks.length === 0 ? "none" : stacks.map((stack) => stackText(stack, stacks.length)).join(", ")],
    vocabulary === undefined ? undefined : ["vocabulary", vocabularyText(vocabulary)],
    experts === undefined
      ? undefined
      : [
          "experts",
          `${experts.count} a layer, ${experts.layout === "apart" ? "each in tensors of its own" : "together in one tensor"}`,
        ],
    ["tensors", `${counted(tensors, "tensor")}, ${readableBytes(sizeBytes)}`],
    ["files", filesText(files)],
  ];
  return textTable(
    rows.filter((row) => row !== undefined),
    [],
    { width, column: 1 },
  );
}

function stackText({ prefix, layers, configured }: ModelFacts["stacks"][number], stacks: number): string {
  const others = configured !== undefined && configured !== layers ? `, its config counts ${configured}` : "";
  return `${layers}${stacks > 1 || others !== "" ? ` (${prefix}${others})` : ""}`;
}

function vocabularyText({ rows, configured, head }: NonNullable<ModelFacts["vocabulary"]>): string {
  const count = rows.toLocaleString("en-US");
  const others = configured !== undefined && configured !== rows ? `, its config counts ${configured}` : "";
  const heads = { own: "a head of its own", tied: "the head is tied to it", none: "no head" };
  return `${count} rows${others}; ${heads[head]}`;
}

const FILES_SHOWN = 3;

function filesText(files: Checkpoint["files"]): string {
  const shown = files.slice(0, FILES_SHOWN).map(({ name, sizeBytes }) => `${name} (${readableBytes(sizeBytes)})`);
  const more = files.length - shown.length;
  return `${shown.join(", ")}${more > 0 ? `, ${more} more` : ""}`;
}
