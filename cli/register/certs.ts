import { parseDays } from "../duration.ts";
import type { Register } from "../runs.ts";

export const register: Register = (program, runs) => {
  const certs = program.command("certs").description("certificates of the machines and people of a cluster");

  certs
    .command("init")
    .description("make a certificate authority of your own")
    .argument("<dir>", "where ca.pem and ca-key.pem go")
    .option("--days <n>", "days for which it is valid", parseDays, 3650)
    .option("--json", "print the result as JSON", false)
    .action(runs(async () => (await import("../commands/certs.ts")).certsInitCommand));

  certs
    .command("issue")
    .description("issue a key and a certificate, beside the authority")
    .argument("<dir>", "where `deltaworks certs init` made the authority")
    .requiredOption("--role <role>", "worker, submitter, admin or coordinator")
    .requiredOption("--name <name>", "name of the machine or the person")
    .option("--hosts <list>", "names and addresses under which it is dialed, separated by commas")
    .option("--days <n>", "days for which it is valid", parseDays, 90)
    .option("--overwrite", "replace the certificate that is there", false)
    .option("--json", "print the result as JSON", false)
    .action(runs(async () => (await import("../commands/certs.ts")).certsIssueCommand));

  certs
    .command("show")
    .description("show what stands in certificates")
    .argument("<file>", "PEM")
    .option("--json", "print certificates as JSON, one object a line", false)
    .action(runs(async () => (await import("../commands/certs.ts")).certsShowCommand));
};
