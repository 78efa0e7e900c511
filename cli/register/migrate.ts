import { Option } from "commander";
import type { Register } from "../runs.ts";

export const register: Register = (program, runs) => {
  program
    .command("migrate")
    .description("say how a mergekit recipe behaves here, line by line where it differs; exit 2 if it is refused")
    .argument("<recipe>", "mergekit recipe, YAML")
    .addOption(
      new Option("--from <version>", "the release of mergekit that the recipe comes from")
        .choices(["0.1.4", "0.1.5"])
        .default("0.1.5"),
    )
    .option("--json", "print differences as JSON, one object a line", false)
    .action(runs(async () => (await import("../commands/migrate.ts")).migrateCommand));
};
