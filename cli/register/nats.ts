import { InvalidArgumentError } from "commander";
import { byteSize } from "../argument-parsers.ts";
import { withNats } from "../nats-options.ts";
import type { Register } from "../runs.ts";

const JOURNAL_BYTES_DEFAULT = 4 * 2 ** 30;

function parseReplicas(text: string): number {
  if (/^[1-5]$/.test(text)) return Number(text);
  throw new InvalidArgumentError("Give 1 to 5; 3 in a cluster of three.");
}

export const register: Register = (program, runs) => {
  const group = program.command("nats").description("prepare and check the NATS servers that coordinators share");

  withNats(group.command("init"))
    .description(
      "make streams and consumers, with an administrator's credentials; print what coordinators must be allowed",
    )
    .option("--replicas <n>", "servers that hold each entry: 3 in a cluster", parseReplicas, 1)
    .option(
      "--journal-max <bytes>",
      "bytes that the journal may take; more is refused",
      byteSize,
      JOURNAL_BYTES_DEFAULT,
    )
    .action(runs(async () => (await import("../commands/nats.ts")).natsInitCommand));

  withNats(group.command("check"))
    .description("see whether a coordinator with these credentials finds all it needs; changes nothing")
    .action(runs(async () => (await import("../commands/nats.ts")).natsCheckCommand));

  withNats(group.command("purge"))
    .description("take jobs that have ended out of the journal and the list, with an administrator's credentials")
    .argument("<names...>", "names of jobs")
    .action(runs(async () => (await import("../commands/nats.ts")).natsPurgeCommand));
};
