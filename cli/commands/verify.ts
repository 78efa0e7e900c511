import { outPlaceOf } from "../../app/index.ts";
import { type Finding, type VerifyReport, verifyOutput } from "../../output/index.ts";
import { openStores } from "../../storage/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { reportError } from "../report-error.ts";
import { counted, readableBytes } from "./text-table.ts";

export interface VerifyOptions {
  readonly json: boolean;
  /** Nothing is said of an output that is as it was published. */
  readonly quiet?: boolean;
}

/** `deltaworks verify OUT` */
export async function verifyCommand([out = ""]: readonly string[], options: VerifyOptions, io: Io): Promise<number> {
  const { json, quiet = false } = options;
  try {
    const report = await verifyOutput(openStores(), outPlaceOf(out));
    if (quiet && report.ok) return exitCodes.done;
    io.stdout(json ? reportLines(report) : reportText(report));
    if (report.ok) return exitCodes.done;
    if (!json) io.stderr(`  hint  ${verifyHint(report)}\n`);
    return exitCodes.damaged;
  } catch (error) {
    return reportError(io, error, json);
  }
}

/** One object a line: the findings, then the summary. */
export function reportLines(report: VerifyReport): string {
  const { findings, ...summary } = report;
  const lines = [...findings.map((finding) => ({ event: "finding", ...finding })), { event: "verified", ...summary }];
  return lines.map((line) => `${JSON.stringify(line)}\n`).join("");
}

export function reportText(report: VerifyReport): string {
  const { ok, findings, notes, measure, files, slices, bytesRead, plan } = report;
  const lines = findings.map(findingLine);
  for (const note of notes) lines.push(`note     ${note}: no record lists it`);
  const what = `${counted(files, "file")}, ${counted(slices, "slice")}, ${readableBytes(bytesRead)}`;
  if (ok) lines.push(`ok       ${what}, plan ${plan?.slice(0, 12)}`);
  else lines.push(`damaged  ${counted(findings.length, "finding")} in ${what}; compared with ${measureNames[measure]}`);
  if (ok) lines.push(`checked  every byte against its SHA-256; not the values: ${valuesText(report)}`);
  return lines.map((line) => `${line}\n`).join("");
}

function valuesText({ valuesFinite }: VerifyReport): string {
  if (valuesFinite === undefined) return "the manifest is not there to say whether the merge looked at them";
  return valuesFinite
    ? "the merge would have stopped at one that is NaN or infinity"
    : "the merge let NaN and infinity through (--allow-nonfinite)";
}

const measureNames: Readonly<Record<VerifyReport["measure"], string>> = {
  manifest: "the manifest",
  sums: "SHA256SUMS, as the manifest is not sound",
  nothing: "nothing, as neither manifest nor SHA256SUMS are sound",
};

function findingLine({ file, kind, message, slice, tensors, offsetBytes, sizeBytes }: Finding): string {
  const range =
    offsetBytes === undefined || sizeBytes === undefined
      ? ""
      : `, bytes ${offsetBytes} to ${offsetBytes + sizeBytes - 1}`;
  const shown = tensors === undefined ? "" : `, ${namesOf(tensors)}`;
  return `${kind.padEnd(8)} ${file}${slice === undefined ? "" : ` ${slice}`}${range}${shown}: ${message}`;
}

function namesOf(tensors: readonly string[]): string {
  const more = tensors.length > 3 ? ` and ${tensors.length - 3} more` : "";
  return tensors.slice(0, 3).join(", ") + more;
}

/** What to do about an output that is not as it was published. */
export function verifyHint(report: VerifyReport): string {
  if (report.measure === "nothing") return "Merge again with --overwrite: nothing says any more what the bytes were.";
  if (report.findings.every(({ kind }) => kind === "unexpected")) return "Move away the files that were not published.";
  return "`deltaworks repair` computes again what is damaged.";
}
