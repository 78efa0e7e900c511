import { coordinatorOption } from "../coordinator-option.ts";
import { durationOption } from "../duration.ts";
import type { Register } from "../runs.ts";
import { withTrust } from "../trust-options.ts";

export const register: Register = (program, runs) => {
  const token = program.command("token").description("join tokens, with which machines get their first certificate");

  withTrust(token.command("create"))
    .description("make a token that can be used once; for admins")
    .addOption(coordinatorOption())
    .requiredOption("--role <role>", "worker, submitter or admin")
    .option("--name <name>", "name that the certificate will have (default: whoever joins chooses)")
    .addOption(durationOption("--ttl <time>", "how long it can be used", 600_000))
    .option("--json", "print the result as JSON", false)
    .action(runs(async () => (await import("../commands/token.ts")).tokenCreateCommand));
};
