/**
 * The built command in processes of their own, for tests in which several run at once: a process can be waited for,
 * stopped, continued and killed, its clock can jump and its storage fail. Whatever a test leaves running is killed when
 * it ends.
 */
import { spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type CommandEvent, eventsIn, MAIN } from "../e2e/cli-process.ts";
import { temporaryFolder } from "./temporary-folder.ts";

/** As test/support/storage-faults.mjs explains them. */
export interface StorageFault {
  readonly call: "read" | "write" | "sync" | "truncate" | "open" | "rename" | "unlink";
  readonly path: string;
  readonly holds?: string;
  readonly byte?: number;
  readonly from?: number;
  readonly times?: number;
  readonly thread?: "main" | "worker";
  readonly while?: string;
  readonly once?: true;
  readonly do:
    | "ENOSPC"
    | "EIO"
    | "EDQUOT"
    | "EROFS"
    | "ESTALE"
    | "flip"
    | "kill"
    | "kill-after"
    | "hang"
    | "slow"
    | "end-thread";
  readonly ms?: number;
}

export interface SpawnOptions {
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly faults?: readonly StorageFault[];
  /** A command that runs it, with its own arguments: see namespaces.ts. */
  readonly prefix?: readonly string[];
  /** Whether `jumpClock` will be used. */
  readonly movableClock?: boolean;
}

/** How a process ended. */
export interface End {
  /** null where a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const preload = (name: string) => ["--import", new URL(name, import.meta.url).href];
/** Nothing here is worth more than what a failing test has to say: a wait that is over tells what was printed. */
const WAIT_MS = 100_000;
const SHOWN_CHARACTERS = 4000;

export class Cli {
  readonly ended: Promise<End>;
  readonly args: readonly string[];
  stdout = "";
  stderr = "";
  end: End | undefined;
  readonly #process: ReturnType<typeof spawn>;
  readonly #clockFile: string | undefined;
  #waiting: (() => void)[] = [];

  private constructor(args: readonly string[], options: SpawnOptions) {
    this.args = args;
    this.#clockFile = options.movableClock ? join(temporaryFolder(), "clock") : undefined;
    const preloads = [
      ...(this.#clockFile === undefined ? [] : preload("clock-jump.mjs")),
      ...(options.faults === undefined ? [] : preload("storage-faults.mjs")),
    ];
    const [command = process.execPath, ...before] = [...(options.prefix ?? []), process.execPath];
    this.#process = spawn(command, [...before, ...preloads, MAIN, ...args], {
      cwd: options.cwd,
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        ...process.env,
        ...(this.#clockFile === undefined ? {} : { DELTAWORKS_TEST_CLOCK: this.#clockFile }),
        ...(options.faults === undefined ? {} : { DELTAWORKS_TEST_FAULTS: JSON.stringify(options.faults) }),
        ...options.environment,
      },
    });
    this.#process.stdout?.setEncoding("utf8").on("data", (text: string) => this.#change(() => (this.stdout += text)));
    this.#process.stderr?.setEncoding("utf8").on("data", (text: string) => this.#change(() => (this.stderr += text)));
    this.ended = new Promise((resolve, reject) => {
      this.#process.once("error", reject);
      this.#process.once("close", (code, signal) => {
        this.#change(() => (this.end = { code, signal }));
        resolve({ code, signal });
      });
    });
    onTestFinished(async () => {
      this.kill();
      await this.ended.catch(() => undefined);
    });
  }

  /** `deltaworks ARGS`, from dist/. Call it inside a test. */
  static start(args: readonly string[], options: SpawnOptions = {}): Cli {
    if (!existsSync(MAIN)) throw new Error(`${MAIN} is not there: run npm run build`);
    return new Cli(args, options);
  }

  get pid(): number {
    return this.#process.pid ?? Number.NaN;
  }

  /** Every whole line of JSON printed until now: events on stdout, and on stderr errors, warnings and the log. */
  get events(): readonly CommandEvent[] {
    const whole = (text: string) => text.slice(0, text.lastIndexOf("\n") + 1);
    return eventsIn(whole(this.stdout) + whole(this.stderr));
  }

  /**
   * Resolves with the first event that fits, printed already or still to come; with its name, or by a condition.
   * Rejects with all that was said if the process ends without it.
   */
  async event(fits: string | ((event: CommandEvent) => boolean)): Promise<CommandEvent> {
    const condition = typeof fits === "string" ? ({ event }: CommandEvent) => event === fits : fits;
    let found: CommandEvent | undefined;
    await this.until(
      () => {
        found = this.events.find(condition);
        return found !== undefined;
      },
      typeof fits === "string" ? `event ${fits}` : "an event",
    );
    if (found === undefined) throw new Error("an event was found and then not");
    return found;
  }

  /** Resolves once the text stands in stdout or stderr. */
  async says(text: string | RegExp): Promise<void> {
    const fits = (said: string) => (typeof text === "string" ? said.includes(text) : text.test(said));
    await this.until(() => fits(this.stdout) || fits(this.stderr), String(text));
  }

  /** Asked again after everything that is printed, and at the end. */
  async until(holds: () => boolean, wanted: string): Promise<void> {
    const failed = (why: string) => new Error(`deltaworks ${this.args.join(" ")}: ${why} ${wanted}\n${this.#said()}`);
    let late = false;
    const timer = setTimeout(() => this.#change(() => (late = true)), WAIT_MS);
    try {
      while (!holds()) {
        if (this.end !== undefined) throw failed(`ended (${this.end.code ?? this.end.signal}) without`);
        if (late) throw failed(`${WAIT_MS} ms without`);
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** SIGSTOP: it stands still, its connections stay. */
  freeze(): void {
    this.#process.kill("SIGSTOP");
  }

  /** SIGCONT */
  thaw(): void {
    this.#process.kill("SIGCONT");
  }

  /** SIGTERM, as systemd and Kubernetes do it. */
  terminate(): void {
    this.#process.kill("SIGTERM");
  }

  /** SIGKILL; a frozen process dies of it as well. */
  kill(): void {
    this.#process.kill("SIGKILL");
  }

  async killed(): Promise<void> {
    this.kill();
    await this.ended;
  }

  /** Sets its wall clock so far ahead, or behind, of the real one. */
  jumpClock(shiftMs: number): void {
    if (this.#clockFile === undefined) throw new Error("this process was started without movableClock");
    writeFileSync(this.#clockFile, String(shiftMs));
  }

  #change(change: () => void): void {
    change();
    for (const again of this.#waiting.splice(0)) again();
  }

  #said(): string {
    const last = (text: string) => text.slice(-SHOWN_CHARACTERS);
    return `stdout: ${last(this.stdout)}\nstderr: ${last(this.stderr)}`;
  }
}
