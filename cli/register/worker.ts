import { workerDefaults } from "../../options/index.ts";
import { gather } from "../argument-parsers.ts";
import { coordinatorOption } from "../coordinator-option.ts";
import { durationOption, parseGrace } from "../duration.ts";
import { logLevel } from "../log-level-option.ts";
import { withMergeOptions } from "../merge-options.ts";
import type { Register } from "../runs.ts";
import { withJoining, withTrust } from "../trust-options.ts";

export const register: Register = (program, runs) => {
  withMergeOptions(withJoining(withTrust(program.command("worker"))), "worker")
    .description("compute slices for a coordinator, until it is told to end")
    .addOption(coordinatorOption().makeOptionMandatory())
    .option("--name <name>", "name of this worker, unique in the cluster (default: its certificate's, or the host's)")
    .option(
      "--root <name=path>",
      "a folder that jobs may name; NAME=PATH:ro is only read; may be given again",
      gather,
      [],
    )
    .option(
      "--place <name=address>",
      "a prefix of a bucket that jobs may name, reached with keys of this worker: NAME=s3://bucket/prefix[:ro]; may be given again",
      gather,
      [],
    )
    .option(
      "--through-coordinator",
      "read and write buckets through the coordinator: they are out of this machine's reach",
      false,
    )
    .addOption(
      durationOption(
        "--grace <time>",
        "after SIGTERM, time to finish what has begun",
        workerDefaults.grace,
        parseGrace,
      ),
    )
    .option("--listen <host:port>", "offer results here instead of sending them, where the output is out of reach")
    .option("--json", "log as JSON, one object a line", false)
    .addOption(logLevel("info"))
    .action(runs(async () => (await import("../commands/worker.ts")).workerCommand));
};
