/** A cluster of real processes for tests: coordinator, workers and whoever submits, from dist/. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MODELS, run } from "../e2e/cli-process.ts";
import { STACKED_SIZES, stackedRecipe } from "../e2e/stacked-recipe.ts";
import { Cli, type SpawnOptions } from "../support/child-process.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

export interface StartedCoordinator {
  readonly cli: Cli;
  /** HOST:PORT */
  readonly address: string;
  /** HOST:PORT where machines join; undefined without --ca-key. */
  readonly joinAddress: string | undefined;
}

/** Folders of one test: recipes, state, outputs. Everything goes when the test ends. */
export class Rig {
  readonly folder = temporaryFolder();
  readonly state = join(this.folder, "state");
  readonly out = join(this.folder, "out");
  readonly roots = ["--root", `models=${MODELS}`, "--root", `out=${this.out}`];

  constructor() {
    mkdirSync(this.out);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** 220 slices of small tensors: enough for faults at a chosen place, and done within seconds. Returns the recipe's path. */
  recipe(head = "merge_method: linear"): string {
    const path = this.path("recipe.yml");
    // Models are found below the one root that has them: so the text, which goes into the output, is that of one machine.
    writeFileSync(path, stackedRecipe(head));
    return path;
  }

  async coordinator(
    args: readonly string[] = [],
    options: SpawnOptions = {},
    roots: readonly string[] = this.roots,
  ): Promise<StartedCoordinator> {
    const listen = args.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
    const cli = Cli.start(["coordinator", ...listen, "--state", this.state, ...roots, "--json", ...args], options);
    const address = String((await cli.event("listening")).address);
    const joining = cli.events.find(({ msg }) => msg === "machines may join");
    return { cli, address, joinAddress: joining === undefined ? undefined : String(joining.address) };
  }

  /** Resolves at once; `attached` says when it is there. */
  worker(address: string, name: string, args: readonly string[] = [], options: SpawnOptions = {}): Cli {
    const own = ["--name", name, "--threads", "1", "--json"];
    return Cli.start(["worker", "--coordinator", address, ...own, ...this.roots, ...args], options);
  }

  /** One that sees neither inputs nor outputs. */
  bareWorker(address: string, name: string, args: readonly string[] = []): Cli {
    return Cli.start(["worker", "--coordinator", address, "--name", name, "--threads", "2", "--json", ...args]);
  }

  /** Other models than those of the examples. */
  coordinatorOf(models: string, args: readonly string[]): Promise<StartedCoordinator> {
    return this.coordinator(args, {}, ["--root", `models=${models}`, "--root", `out=${this.out}`]);
  }

  workerOf(models: string, address: string, name: string, args: readonly string[] = []): Cli {
    const roots = ["--root", `models=${models}:ro`, "--root", `out=${this.out}`];
    return Cli.start([
      "worker",
      "--coordinator",
      address,
      "--name",
      name,
      "--threads",
      "1",
      "--json",
      ...roots,
      ...args,
    ]);
  }

  /** A slice for each block. */
  submitCut(address: string, recipe: string, name: string): Cli {
    return Cli.start([
      "submit",
      recipe,
      `out:${name}`,
      "--coordinator",
      address,
      "--name",
      name,
      "--json",
      "--slice-size",
      "1",
    ]);
  }

  /** Streams the job's progress until its end. The output goes to `out:<name>`. */
  submit(address: string, recipe: string, name: string, args: readonly string[] = [], options: SpawnOptions = {}): Cli {
    const common = ["--coordinator", address, "--name", name, "--json", ...STACKED_SIZES];
    return Cli.start(["submit", recipe, `out:${name}`, ...common, ...args], options);
  }

  /** The same merge on one machine, by `deltaworks merge`: what every output is compared with. Returns its folder. */
  async reference(head = "merge_method: linear"): Promise<string> {
    const [recipe, out] = [this.path("reference.yml"), this.path("reference")];
    writeFileSync(recipe, stackedRecipe(head));
    const { code, stderr } = await run([
      "merge",
      recipe,
      out,
      "--models-root",
      MODELS,
      "--threads",
      "2",
      ...STACKED_SIZES,
    ]);
    if (code !== 0) throw new Error(stderr);
    return out;
  }
}

/** Of the options that a process takes its certificates by. */
export function certificateArgs(folder: string, role: string, name: string): readonly string[] {
  const base = join(folder, `${role}-${name}`);
  return ["--cert", `${base}.pem`, "--key", `${base}-key.pem`, "--ca", join(folder, "ca.pem")];
}
