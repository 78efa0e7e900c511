import { Command } from "commander";
import { toolVersion } from "../version/index.ts";
import * as certs from "./register/certs.ts";
import * as clean from "./register/clean.ts";
import * as coordinator from "./register/coordinator.ts";
import * as diff from "./register/diff.ts";
import * as inspect from "./register/inspect.ts";
import * as jobs from "./register/jobs.ts";
import * as merge from "./register/merge.ts";
import * as methods from "./register/methods.ts";
import * as migrate from "./register/migrate.ts";
import * as nats from "./register/nats.ts";
import * as plan from "./register/plan.ts";
import * as publish from "./register/publish.ts";
import * as repair from "./register/repair.ts";
import * as submit from "./register/submit.ts";
import * as sweep from "./register/sweep.ts";
import * as token from "./register/token.ts";
import * as verify from "./register/verify.ts";
import * as worker from "./register/worker.ts";
import type { Register, Runs } from "./runs.ts";

/** In the order of help. */
const commands: readonly { readonly register: Register }[] = [
  ...[
    merge,
    sweep,
    coordinator,
    worker,
    submit,
    jobs,
    nats,
    plan,
    migrate,
    verify,
    repair,
    publish,
    clean,
    inspect,
    diff,
    methods,
  ],
  ...[certs, token],
];

/** The command line: every command, loaded when it is called. */
export function createProgram(runs: Runs): Command {
  const program = new Command("deltaworks")
    .description("Merge language models: a mergekit recipe and safetensors checkpoints in, a verified checkpoint out.")
    .version(toolVersion)
    .showHelpAfterError("(deltaworks --help shows the commands)")
    .exitOverride();
  for (const { register } of commands) register(program, runs);
  return program;
}
