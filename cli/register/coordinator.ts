import { byteSize, gather, wholeNumber } from "../argument-parsers.ts";
import { parseDuration } from "../duration.ts";
import { logLevel } from "../log-level-option.ts";
import { withMergeOptions } from "../merge-options.ts";
import { withNats } from "../nats-options.ts";
import type { Register } from "../runs.ts";
import { withEnrolling, withTrust } from "../trust-options.ts";

const JOBS_DEFAULT = 4;
const LEASE_MS_DEFAULT = 30_000;
const IO_TIMEOUT_MS_DEFAULT = 20_000;
const GRACE_MS_DEFAULT = 20_000;
/** Whoever submits waits for ten minutes. */
const PLANNING_MS_DEFAULT = 9 * 60_000;
const KEEP_ENDED_MS_DEFAULT = 30 * 24 * 3_600_000;
const PLANNING_BYTES_DEFAULT = 2 * 2 ** 30;

export const register: Register = (program, runs) => {
  withMergeOptions(withNats(withEnrolling(withTrust(program.command("coordinator")))), "coordinator")
    .description("take jobs and have workers on other machines compute them; after a crash the same command goes on")
    .option("--listen <host:port>", "where workers and people connect", "127.0.0.1:7410")
    .requiredOption("--state <dir>", "where the queue of jobs is kept")
    .option("--root <name=path>", "a folder that jobs may name; may be given again", gather, [])
    .option("--lease <time>", "how long work is lent without a sign of life", parseDuration, LEASE_MS_DEFAULT)
    .option("--io-timeout <time>", "how long one I/O call of a worker may take", parseDuration, IO_TIMEOUT_MS_DEFAULT)
    .option("--grace <time>", "after SIGTERM, time for slices in flight", parseDuration, GRACE_MS_DEFAULT)
    .option("--jobs <n>", "jobs that run at once; others wait", wholeNumber(1, 64), JOBS_DEFAULT)
    .option(
      "--keep-ended <time>",
      "how long jobs that have ended are kept (default: 30d)",
      parseDuration,
      KEEP_ENDED_MS_DEFAULT,
    )
    .option("--planning-time <time>", "for planning one recipe (default: 9m)", parseDuration, PLANNING_MS_DEFAULT)
    .option("--planning-memory <bytes>", "for planning one recipe (default: 2GiB)", byteSize, PLANNING_BYTES_DEFAULT)
    .option("--reflection", "describe the services to whoever asks (grpcurl and the like)", false)
    .option("--json", "print where it listens as JSON", false)
    .addOption(logLevel("info"))
    .action(runs(async () => (await import("../commands/coordinator.ts")).coordinatorCommand));
};
