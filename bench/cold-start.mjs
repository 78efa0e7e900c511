// How long the command takes to start: medians of ten runs, after one that is not counted.
import { join } from "node:path";
import { repositoryRoot } from "./folders.mjs";
import { measure, median } from "./measure.mjs";
import { fixed, machineLine, markdownTable } from "./report.mjs";

const RUNS = 10;
const program = join(repositoryRoot, "dist", "cli", "main.js");
const commands = [
  { args: ["--help"], atMost: 0.3 },
  { args: ["plan", join("examples", "recipes", "ties.yml")], atMost: 0.6 },
];

const rows = [];
for (const { args, atMost } of commands) {
  const seconds = [];
  for (let run = 0; run <= RUNS; run++) {
    const result = await measure(process.execPath, [program, ...args], { cwd: repositoryRoot });
    if (run > 0) seconds.push(result.seconds);
  }
  const numbers = [median(seconds), Math.min(...seconds), Math.max(...seconds), atMost];
  rows.push([`deltaworks ${args.join(" ")}`, ...numbers.map(fixed(2))]);
}
process.stdout.write(
  `${machineLine()}\n\n${markdownTable(["command", "median, s", "least", "most", "at most"], rows)}\n`,
);
