import type { Register } from "../runs.ts";

export const register: Register = (program, runs) => {
  program
    .command("verify")
    .description("compare an output with its manifest; exit 3 if anything is damaged")
    .argument("<out>", "output directory, or s3://bucket/prefix")
    .option("--quiet", "print findings only", false)
    .option("--json", "print findings as JSON, one object a line", false)
    .action(runs(async () => (await import("../commands/verify.ts")).verifyCommand));
};
