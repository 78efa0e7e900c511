// Another version of this repository beside this one, so that both are measured in one run: npm run bench -- --against COMMIT.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "./folders.mjs";
import { median } from "./measure.mjs";

/**
 * Builds a commit in a work tree of its own below `folder`, once: what was built whole is found again. Its packages are this version's
 * where the lock files agree, else installed beside it.
 * @returns {{ name: string, main: string }} `name`: the short hash; `main`: the command line's module.
 */
export function builtVersion(commit, folder) {
  const hash = run("git", ["rev-parse", "--verify", `${commit}^{commit}`], repositoryRoot).trim();
  const name = hash.slice(0, 7);
  const tree = join(folder, hash);
  const stamp = `${tree}.built`;
  const main = join(tree, "dist", "cli", "main.js");
  if (existsSync(stamp) && existsSync(main)) return { name, main };
  // What an interrupted run left is no version.
  rmSync(tree, { recursive: true, force: true });
  run("git", ["worktree", "prune"], repositoryRoot);
  mkdirSync(folder, { recursive: true });
  run("git", ["worktree", "add", "--detach", tree, hash], repositoryRoot);
  const lockOf = (root) => readFileSync(join(root, "package-lock.json"), "utf8");
  if (hasSamePackages(lockOf(repositoryRoot), lockOf(tree))) {
    symlinkSync(join(repositoryRoot, "node_modules"), join(tree, "node_modules"));
  } else run("npm", ["ci", "--no-audit", "--no-fund"], tree);
  run("npm", ["run", "build"], tree);
  writeFileSync(stamp, "");
  return { name, main };
}

/** Whether two lock files ask for the same packages. The name and version of the root, and which Node it wants, make no difference. */
export function hasSamePackages(left, right) {
  const packagesOf = (text) => {
    const { "": root, ...others } = JSON.parse(text).packages;
    const { dependencies, devDependencies } = root;
    return JSON.stringify([dependencies, devDependencies, others]);
  };
  return packagesOf(left) === packagesOf(right);
}

/** Which of two versions goes first in a round: each as often, so that neither always finds the machine as the other left it. */
export function orderOf(round) {
  return round % 2 === 0 ? ["own", "other"] : ["other", "own"];
}

/**
 * How many times faster than the other version: the median over the rounds of one number of the other by the same of this one, measured one
 * right after the other. A round in which either failed does not count; undefined: there is none.
 */
export function factorOf(own, other) {
  const factors = own.flatMap((value, round) => {
    const theirs = other[round];
    return value > 0 && theirs > 0 ? [theirs / value] : [];
  });
  return factors.length === 0 ? undefined : median(factors);
}

function run(command, args, cwd) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8", maxBuffer: 2 ** 28 });
  if (error !== undefined) throw error;
  if (status !== 0)
    throw new Error(`${command} ${args.join(" ")} ended with ${status}: ${(stderr + stdout).trim().slice(-2000)}`);
  return stdout;
}
