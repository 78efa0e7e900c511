import { type Cleaned, type CleanSettings, runClean } from "../../app/index.ts";
import { formatDuration } from "../../options/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { reportError } from "../report-error.ts";
import { counted } from "./text-table.ts";

export interface CleanOptions extends Omit<CleanSettings, "place"> {
  readonly json: boolean;
}

/** `deltaworks clean PLACE` */
export async function cleanCommand([place = ""]: readonly string[], options: CleanOptions, io: Io): Promise<number> {
  const { json } = options;
  try {
    const cleaned = await runClean({ ...options, place });
    for (const one of cleaned) {
      io.stdout(json ? `${JSON.stringify({ event: "leftover", ...one })}\n` : `${lineOf(one, Date.now())}\n`);
    }
    if (json) return exitCodes.done;
    if (cleaned.length === 0) io.stdout(`nothing  no merge left anything at ${place} or below it\n`);
    const hint = hintFor(cleaned, options);
    if (hint !== undefined) io.stderr(`  hint  ${hint}\n`);
    return exitCodes.done;
  } catch (error) {
    return reportError(io, error, json);
  }
}

function lineOf({ state, out, uploads, lastMs, owner, holder }: Cleaned, nowMs: number): string {
  const facts = [
    counted(uploads, "upload"),
    ...(lastMs === undefined ? [] : [`the last begun ${agoText(nowMs - lastMs)} ago`]),
    ...(owner === undefined ? [] : [`of ${owner}`]),
    ...(holder === undefined ? [] : [`held by ${holder}`]),
  ];
  return `${state.padEnd(8)} ${out}: ${facts.join(", ")}`;
}

/** In whole units, of which there are few. */
function agoText(ms: number): string {
  const SECOND = 1000;
  const units = [24 * 3600 * SECOND, 3600 * SECOND, 60 * SECOND, SECOND];
  const unit = units.find((one) => ms >= 2 * one) ?? SECOND;
  return formatDuration(Math.max(unit, Math.floor(ms / unit) * unit));
}

function hintFor(cleaned: readonly Cleaned[], { remove, olderThan }: CleanOptions): string | undefined {
  if (cleaned.length === 0) return undefined;
  if (!remove)
    return "The same command with --remove removes it, but for what is held: whoever would go on with it begins anew.";
  if (cleaned.some(({ state }) => state === "held"))
    return "What is held is somebody's who may be writing. If you are certain that it has ended: --take-over with the name of who holds it.";
  if (!cleaned.some(({ state }) => state === "young")) return undefined;
  return `What was begun in the last ${formatDuration(olderThan)} stays: somebody may go on with it. --older-than says another time.`;
}
