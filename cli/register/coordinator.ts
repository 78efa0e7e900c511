import { Option } from "commander";
import { bytesText, coordinatorDefaults } from "../../options/index.ts";
import { byteSize, gather, wholeNumber } from "../argument-parsers.ts";
import { durationOption } from "../duration.ts";
import { logLevel } from "../log-level-option.ts";
import { withMergeOptions } from "../merge-options.ts";
import { withNats } from "../nats-options.ts";
import type { Register } from "../runs.ts";
import { withEnrolling, withTrust } from "../trust-options.ts";

const { lease, ioTimeout, grace, jobs, keepEnded, planningTime, planningMemory } = coordinatorDefaults;

export const register: Register = (program, runs) => {
  withMergeOptions(withNats(withEnrolling(withTrust(program.command("coordinator")))), "coordinator")
    .description("take jobs and have workers on other machines compute them; after a crash the same command goes on")
    .option("--listen <host:port>", "where workers and people connect", "127.0.0.1:7410")
    .requiredOption("--state <dir>", "where the queue of jobs is kept")
    .option("--root <name=path>", "a folder that jobs may name; may be given again", gather, [])
    .option(
      "--place <name=address>",
      "a prefix of a bucket that jobs may name: NAME=s3://bucket/prefix, with :ro behind it if only read; may be given again",
      gather,
      [],
    )
    .addOption(durationOption("--lease <time>", "how long work is lent without a sign of life", lease))
    .addOption(durationOption("--io-timeout <time>", "how long one I/O call of a worker may take", ioTimeout))
    .addOption(durationOption("--grace <time>", "after SIGTERM, time for slices in flight", grace))
    .option("--jobs <n>", "jobs that run at once; others wait", wholeNumber(1, 64), jobs)
    .addOption(durationOption("--keep-ended <time>", "how long jobs that have ended are kept", keepEnded))
    .addOption(durationOption("--planning-time <time>", "for planning one recipe", planningTime))
    .addOption(
      new Option("--planning-memory <bytes>", "for planning one recipe")
        .argParser(byteSize)
        .default(planningMemory, bytesText(planningMemory)),
    )
    .option("--reflection", "describe the services to whoever asks (grpcurl and the like)", false)
    .option("--json", "print where it listens as JSON", false)
    .addOption(logLevel("info"))
    .action(runs(async () => (await import("../commands/coordinator.ts")).coordinatorCommand));
};
