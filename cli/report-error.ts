import { CheckpointError } from "../checkpoint/index.ts";
import { MethodError } from "../merge/methods/index.ts";
import { FailuresError, failureFrom } from "../merge/work/index.ts";
import { InputsError } from "../prepare/index.ts";
import { type Fault, formatFault, RecipeError } from "../recipe/index.ts";
import { exitCodes } from "./exit-codes.ts";
import type { Io } from "./io.ts";
import { printFailure } from "./print-failure.ts";

/** Prints what happened and what to do, and says how the process ends: 2 for a wrong recipe or usage, else 1. */
export function reportError(io: Io, error: unknown, json = false): number {
  if (error instanceof RecipeError) {
    for (const fault of error.faults)
      printFailure(io, { code: fault.code, message: formatFault(fault), hint: fault.hint }, json);
    return exitCodes.usage;
  }
  if (error instanceof FailuresError) {
    for (const failure of error.failures) printFailure(io, failure, json);
    const wrongInput = error instanceof InputsError || error.failures.every(({ code }) => isUsage(code));
    return wrongInput ? exitCodes.usage : exitCodes.failed;
  }
  const failure = failureFrom(error);
  printFailure(io, failure, json);
  const wrongInput = error instanceof CheckpointError || error instanceof MethodError || isUsage(failure.code);
  return wrongInput ? exitCodes.usage : exitCodes.failed;
}

/** Refusals before any work, which another command line would avoid. */
function isUsage(code: string): boolean {
  return [
    "coordinator/other-job",
    "publish/not-empty",
    "publish/foreign-file",
    "publish/target",
    "publish/output-is-input",
    "publish/layer-count",
    "options/value",
    "plan/option",
    "service/option",
    "worker/option",
    "nats/option",
    "trust/option",
    "trust/exists",
    "trust/plaintext-address",
  ].includes(code);
}

export function printWarnings(io: Io, warnings: readonly Fault[], json: boolean): void {
  for (const fault of warnings) {
    const { code, hint } = fault;
    if (json) io.stderr(`${JSON.stringify({ event: "warning", code, message: formatFault(fault), hint })}\n`);
    else io.stderr(`warning ${code}  ${formatFault(fault)}\n  hint  ${hint}\n`);
  }
}
