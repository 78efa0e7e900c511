import { outPlaceOf, repairSource } from "../../app/index.ts";
import type { OptionValues } from "../../options/index.ts";
import { type RepairedFile, type RepairSource, repairBucket, repairOutput } from "../../output/index.ts";
import { maybePlaceOf, openStores, type Place, placeOf, schemeOf } from "../../storage/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { reportError } from "../report-error.ts";
import { counted } from "./text-table.ts";
import { reportLines, reportText } from "./verify.ts";

export interface RepairCommandOptions extends OptionValues<"repair"> {
  readonly json: boolean;
  /** Only what is left damaged is said. */
  readonly quiet?: boolean;
}

/** `deltaworks repair OUT`. `source` finds the models and computes, if not what is here. */
export async function repairCommand(
  [out = ""]: readonly string[],
  { json, quiet = false, takeOver, modelsRoot }: RepairCommandOptions,
  io: Io,
  source?: RepairSource,
): Promise<number> {
  const onRepaired = (item: RepairedFile) => {
    if (!quiet)
      io.stdout(json ? `${JSON.stringify({ event: "repaired", ...item })}\n` : `repaired ${itemText(item)}\n`);
  };
  try {
    const place = outPlaceOf(out);
    const computing = source ?? (await sourceFor(place, modelsRoot));
    const store = openStores({ takeOver });
    const { report } =
      schemeOf(place) === "file"
        ? await repairOutput(store, place, computing, { onRepaired })
        : await repairBucket(store, await store.objects(place), place, computing, { onRepaired, gone: takeOver });
    if (!quiet || !report.ok) io.stdout(json ? reportLines(report) : reportText(report));
    if (report.ok) return exitCodes.done;
    if (!json) io.stderr("  hint  What is left was not published, and repair removes nothing. Move it away.\n");
    return exitCodes.damaged;
  } catch (error) {
    return reportError(io, error, json);
  }
}

function sourceFor(out: Place, modelsRoot: string | undefined): Promise<RepairSource> {
  const here = { cwd: placeOf(process.cwd()), environment: process.env };
  return repairSource({ store: openStores(), out, modelsRoot: maybePlaceOf(modelsRoot), ...here });
}

function itemText({ file, slices }: RepairedFile): string {
  return slices === undefined ? file : `${file}, ${counted(slices.length, "slice")} computed again`;
}
