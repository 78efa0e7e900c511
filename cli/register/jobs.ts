import { asking } from "../asking-options.ts";
import type { Register } from "../runs.ts";

export const register: Register = (program, runs) => {
  asking(program.command("list"))
    .description("list the jobs of a coordinator")
    .option("--all", "those that have ended too", false)
    .action(runs(async () => (await import("../commands/jobs.ts")).listCommand));

  asking(program.command("status"))
    .description("show how far a job is")
    .argument("<job>", "its name or id")
    .action(runs(async () => (await import("../commands/jobs.ts")).statusCommand));

  asking(program.command("events"))
    .description("show what happened to a job, from its beginning")
    .argument("<job>", "its name or id")
    .option("--follow", "go on until the job has ended", false)
    .action(runs(async () => (await import("../commands/jobs.ts")).eventsCommand));

  const changes = {
    pause: "give out no new slices of a job; those in flight are finished",
    resume: "go on with a job that was paused, by somebody or by a full disk",
    cancel: "end a job cleanly: nothing of it is left",
    terminate: "end a job now, without waiting for its workers",
  } as const;
  for (const [change, description] of Object.entries(changes) as [keyof typeof changes, string][]) {
    asking(program.command(change))
      .description(description)
      .argument("<job>", "its name or id")
      .action(runs(async () => (await import("../commands/jobs.ts")).changeCommand(change)));
  }

  asking(program.command("workers"))
    .description("list the workers that are attached")
    .action(runs(async () => (await import("../commands/jobs.ts")).workersCommand));
};
