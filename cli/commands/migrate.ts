import { methodDeclarations } from "../../merge/methods/index.ts";
import { readRecipe } from "../../prepare/index.ts";
import { type Difference, type DifferenceKind, migrationOf, type PeerVersion } from "../../recipe/index.ts";
import { openStores, placeOf } from "../../storage/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { reportError } from "../report-error.ts";

const titles: Readonly<Record<DifferenceKind, string>> = {
  "refused-here": "refused here",
  "fails-there": "mergekit fails",
  "ignored-there": "mergekit ignores",
  defect: "mergekit has a defect",
  lint: "look twice",
  arithmetic: "numbers differ",
};

/** `deltaworks migrate RECIPE`: from the text alone; models need not be there. */
export async function migrateCommand(
  [recipePath = ""]: readonly string[],
  { json, from }: { readonly json: boolean; readonly from: PeerVersion },
  io: Io,
): Promise<number> {
  try {
    const text = await readRecipe(openStores(), placeOf(recipePath));
    const { differences, accepted } = migrationOf(text, recipePath, methodDeclarations(), from);
    if (json) {
      for (const found of differences) io.stdout(`${JSON.stringify({ event: "difference", ...found })}\n`);
      io.stdout(`${JSON.stringify({ event: "migration", accepted, differences: differences.length })}\n`);
    } else {
      for (const found of differences) io.stdout(differenceText(recipePath, found));
      io.stdout(`${summary(differences, accepted)}\n`);
    }
    return accepted ? exitCodes.done : exitCodes.usage;
  } catch (error) {
    return reportError(io, error, json);
  }
}

function differenceText(file: string, { kind, line, column, subject, here, mergekit }: Difference): string {
  return `${file}:${line}:${column}: ${titles[kind]}: ${subject}\n  here      ${here}\n  mergekit  ${mergekit}\n`;
}

function summary(differences: readonly Difference[], accepted: boolean): string {
  const numbers = differences.every(({ kind }) => kind === "arithmetic" || kind === "lint");
  if (!accepted) return "refused  mend what is marked «refused here» or «mergekit ignores», then look again";
  if (differences.length === 0) return "same     nothing in this recipe behaves otherwise here";
  if (numbers) return "accepted  the same merge; what may differ in the numbers stands above";
  return "accepted  with the differences above";
}
