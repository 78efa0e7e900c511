import type { Failure } from "../merge/work/index.ts";
import type { Io } from "./io.ts";

export function printFailure(io: Io, { code, message, hint }: Omit<Failure, "retryable">, json: boolean): void {
  if (json) io.stderr(`${JSON.stringify({ event: "error", code, message, hint })}\n`);
  else io.stderr(`error ${code}  ${message}\n  hint  ${hint}\n`);
}
