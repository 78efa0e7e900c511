import type { Command } from "commander";

export function withJson(command: Command): Command {
  return command.option("--json", "print events or results as JSON, one object a line", false);
}
