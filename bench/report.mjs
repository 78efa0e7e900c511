// Tables, and the places in the documentation where they stand.
import { readFileSync, writeFileSync } from "node:fs";
import * as os from "node:os";

/** The machine in one line. */
export function machineLine() {
  const gibibytes = Math.round(os.totalmem() / 2 ** 30);
  return (
    `${os.cpus()[0]?.model ?? "unknown processor"}, ${os.availableParallelism()} cores, ${gibibytes} GiB, ` +
    `${os.type()} ${os.release()}, Node ${process.versions.node}`
  );
}

/** A Markdown table; the first column is text, the others are numbers. */
export function markdownTable(columns, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(columns), `|---${"|---:".repeat(columns.length - 1)}|`, ...rows.map(line)].join("\n");
}

/** Replaces what stands between `<!-- name:start -->` and `<!-- name:end -->`. */
export function replaceRegion(file, name, text) {
  const [start, end] = [`<!-- ${name}:start -->`, `<!-- ${name}:end -->`];
  const whole = readFileSync(file, "utf8");
  const from = whole.indexOf(start);
  const to = whole.indexOf(end);
  if (from < 0 || to < from) throw new Error(`${file} has no place for the table: add ${start} and ${end}`);
  writeFileSync(file, `${whole.slice(0, from + start.length)}\n${text.trim()}\n${whole.slice(to)}`);
}

export const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;
export const fixed = (digits) => (value) => value.toFixed(digits);
