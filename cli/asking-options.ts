import type { Command } from "commander";
import { coordinatorOption } from "./coordinator-option.ts";
import { durationOption, parseGrace } from "./duration.ts";
import { withJson } from "./json-option.ts";
import { withTrust } from "./trust-options.ts";

/** Of a command that asks a coordinator; for so long it waits for one that does not answer. */
export function asking(command: Command, connectMs = 0): Command {
  return withJson(withTrust(command))
    .addOption(coordinatorOption())
    .addOption(
      durationOption(
        "--connect-timeout <time>",
        "how long a coordinator that does not answer is asked again; 0: it is asked once",
        connectMs,
        parseGrace,
      ),
    );
}
