/** The built command in a process of its own, as a user starts it. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const MODELS = fileURLToPath(new URL("../../examples/models/", import.meta.url));
export const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

/** A line of `--json`: an object with an "event". */
export interface CommandEvent {
  readonly event: string;
  readonly [key: string]: unknown;
}

export interface Ended {
  /** Of the process; null where a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Of stdout and stderr, where the command was called with --json. */
  readonly events: readonly CommandEvent[];
}

export interface Running {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
}

export interface StartOptions {
  readonly cwd?: string;
  /** Beside this process's. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly onEvent?: (event: CommandEvent, running: ChildProcess) => void;
}

/** `onEvent` is told of each line of stdout as soon as it comes. */
export function start(args: readonly string[], options: StartOptions = {}): Running {
  const child = spawn(process.execPath, [MAIN, ...args], {
    ...{ cwd: options.cwd, env: { ...process.env, ...options.environment }, stdio: ["ignore", "pipe", "pipe"] },
  });
  let stdout = "";
  let stderr = "";
  let told = 0;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    if (options.onEvent === undefined) return;
    for (let end = stdout.indexOf("\n", told); end >= 0; end = stdout.indexOf("\n", told)) {
      options.onEvent(JSON.parse(stdout.slice(told, end)) as CommandEvent, child);
      told = end + 1;
    }
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal, stdout, stderr, events: eventsIn(stdout + stderr) }));
  });
  return { process: child, ended };
}

export function run(args: readonly string[], cwd?: string): Promise<Ended> {
  return start(args, cwd === undefined ? {} : { cwd }).ended;
}

/** Lines that begin as JSON objects do. */
export function eventsIn(text: string): CommandEvent[] {
  return text.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as CommandEvent] : []));
}

/** The code of the error that a command ended with. */
export function errorOf({ events }: Ended): CommandEvent | undefined {
  return events.findLast(({ event }) => event === "error");
}

/** Entries of a job's journal, oldest first; a torn tail is left out. Read with no line of the journal's own code. */
export function journalOf(
  out: string,
): readonly { readonly subject: string; readonly body: Record<string, unknown> }[] {
  const path = join(out, ".deltaworks", "journal");
  if (!existsSync(path)) return [];
  const entries: { subject: string; body: Record<string, unknown> }[] = [];
  for (const line of readFileSync(path, "utf8").split("\n").slice(1, -1)) {
    try {
      const { subject, body } = JSON.parse(line.slice(line.indexOf(" ") + 1));
      // What a coordinator writes is wrapped in its epoch; its take-over is not.
      entries.push({ subject, body: body.epoch === undefined ? body : body.body });
    } catch {
      break;
    }
  }
  return entries;
}

/** Slices whose last word in the journal is "done". */
export function slicesDone(out: string): ReadonlySet<string> {
  const done = new Set<string>();
  for (const { subject, body } of journalOf(out)) {
    const [kind, name = ""] = subject.split("/");
    if (kind !== "slice") continue;
    if (body.state === "done") done.add(name);
    else done.delete(name);
  }
  return done;
}

/** SHA-256 of every file of an output by its path; the work directory is no part of it. */
export function hashesOf(out: string): Record<string, string> {
  const names = (readdirSync(out, { recursive: true }) as string[]).filter(
    (name) => !name.startsWith(".deltaworks") && statSync(join(out, name)).isFile(),
  );
  return Object.fromEntries(names.sort().map((name) => [name, sha256(readFileSync(join(out, name)))]));
}

/** Of all files but those that name the models by where they are. */
export function hashesButOfNames(out: string): Record<string, string> {
  const named = new Set(["SHA256SUMS", "deltaworks.manifest.json", "mergekit_config.yml", "README.md"]);
  return Object.fromEntries(Object.entries(hashesOf(out)).filter(([name]) => !named.has(name)));
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
