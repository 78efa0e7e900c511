import { exitCodes } from "./exit-codes.ts";
import type { Io } from "./io.ts";

/**
 * The last net under a process: an error that nobody heard of ends it, by its name. It is a defect whatever it was, and nothing that the
 * process knows can be relied on; journals and leases make that safe.
 */
export function endOnUnheardErrors(io: Io): void {
  for (const event of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(event, (error: unknown) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      const hint = "This is a defect of deltaworks: please report it with this text.";
      if (process.argv.includes("--json")) {
        io.stderr(`${JSON.stringify({ event: "error", code: "merge/internal", message: text, hint })}\n`);
      } else io.stderr(`error merge/internal  ${text}\n  hint  ${hint}\n`);
      process.exit(exitCodes.failed);
    });
  }
}
