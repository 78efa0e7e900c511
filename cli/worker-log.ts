import { hostname } from "node:os";
import { pino } from "pino";
import type { WorkerLog } from "../worker/link/index.ts";
import type { Io } from "./io.ts";

/** The log of a worker, on stderr: a line each, for people or, with --json, for programs. */
export function openWorkerLog(
  io: Io,
  { json, logLevel }: { readonly json: boolean; readonly logLevel: string },
): { readonly log: pino.Logger; readonly write: WorkerLog } {
  const log = pino(
    { level: logLevel, base: { host: hostname(), pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime },
    { write: (line) => io.stderr(json ? line : readable(line)) },
  );
  return { log, write: (level, event, facts = {}) => log[level](facts, event) };
}

/** "12:00:00 warn  not attached  code=worker/unreachable …" */
function readable(line: string): string {
  const { level, time, msg, host: _host, pid: _pid, ...facts } = JSON.parse(line) as Record<string, unknown>;
  const shown = Object.entries(facts).map(
    ([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  const name = pino.levels.labels[Number(level)] ?? "";
  return `${[String(time).slice(11, 19), name.padEnd(5), msg, ...shown].join("  ").trimEnd()}\n`;
}
