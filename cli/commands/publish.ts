import { type Published, type PublishPorts, type PublishSettings, runPublish } from "../../app/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { LINE_EVERY_MS, ProgressLine } from "../progress-line.ts";
import { reportError } from "../report-error.ts";
import { sizeText } from "../size-text.ts";
import { counted } from "./text-table.ts";
import { reportLines, reportText, verifyHint } from "./verify.ts";

export interface PublishOptions extends Omit<PublishSettings, "out" | "to"> {
  readonly json: boolean;
  readonly quiet: boolean;
}

/** `deltaworks publish OUT TO` */
export async function publishCommand(
  [out = "", to = ""]: readonly string[],
  options: PublishOptions,
  io: Io,
): Promise<number> {
  const { json } = options;
  const told = new Told(options, io);
  try {
    const end = await runPublish({ ...options, out, to }, told.ports);
    told.end();
    if (end.outcome === "done") {
      printDone(end.published, end.seconds, options, io);
      return exitCodes.done;
    }
    io.stdout(json ? reportLines(end.report) : reportText(end.report));
    if (!json) io.stderr(`  hint  Nothing was sent. ${verifyHint(end.report)}\n`);
    return exitCodes.damaged;
  } catch (error) {
    told.end();
    const code = reportError(io, error, json);
    told.kept();
    return code;
  }
}

/** What is said while it runs. */
class Told {
  readonly #options: PublishOptions;
  readonly #io: Io;
  readonly #line: ProgressLine;
  readonly #timer: NodeJS.Timeout | undefined;
  #made: string | undefined;
  #bytes = 0;
  #sent = 0;

  constructor(options: PublishOptions, io: Io) {
    this.#options = options;
    this.#io = io;
    const terminal = process.stderr.isTTY === true;
    this.#line = new ProgressLine(io, terminal, () => performance.now());
    if (options.json || options.quiet) return;
    this.#timer = setInterval(() => this.#show(), terminal ? TERMINAL_MS : LINE_EVERY_MS).unref();
  }

  get ports(): PublishPorts {
    return {
      verifying: (bytes) => this.#say("verifying", { bytes }, `verify   ${sizeText(bytes)}`),
      made: (url) => {
        this.#made = url;
        this.#say("made", { url }, `made     ${url}, private`);
      },
      sending: ({ files, ofFiles, bytes }) => {
        this.#bytes = bytes;
        const there = ofFiles - files;
        const text = `send     ${counted(files, "large file")}, ${sizeText(bytes)}${there > 0 ? `; ${there} of ${ofFiles} are there already` : ""}`;
        this.#say("sending", { files, ofFiles, bytes }, text);
      },
      sent: (bytes) => {
        this.#sent += bytes;
      },
      committed: () => {
        this.#made = undefined;
      },
    };
  }

  /** A repository that was made and does not hold the output is not left without a word. */
  kept(): void {
    if (this.#made === undefined) return;
    const text = `kept     ${this.#made} was made, is private and does not hold the output; the same command sends the rest. To be rid of it: ${this.#made}/settings`;
    this.#say("kept", { url: this.#made }, text);
  }

  end(): void {
    this.#line.clear();
    clearInterval(this.#timer);
  }

  #say(event: string, facts: object, text: string): void {
    if (this.#options.json) this.#io.stdout(`${JSON.stringify({ event, ...facts })}\n`);
    else if (!this.#options.quiet || event === "kept") this.#line.say(text);
  }

  #show(): void {
    if (this.#bytes === 0) return;
    const percent = Math.floor((100 * this.#sent) / this.#bytes);
    this.#line.show(`send     ${sizeText(this.#sent)} of ${sizeText(this.#bytes)}  ${percent} %`);
  }
}

const TERMINAL_MS = 200;

function printDone(published: Published, seconds: number, options: PublishOptions, io: Io): void {
  const { url, commit, wasThere, isPrivate } = published;
  if (options.json) {
    io.stdout(`${JSON.stringify({ event: "published", ...published, seconds })}\n`);
    return;
  }
  if (options.quiet) return;
  if (options.public === true && isPrivate === true) {
    io.stderr(
      `note     it stays private, as it held something else before, or the token may not change that: ${url}/settings does\n`,
    );
  }
  const visible = isPrivate === undefined ? [] : [isPrivate ? "private" : "public"];
  const facts = [...visible, ...(commit === undefined ? [] : [`commit ${commit.slice(0, 12)}`])].join(", ");
  const end = wasThere ? `holds this output already${facts === "" ? "" : ` (${facts})`}` : `${seconds.toFixed(1)} s`;
  io.stdout(`done  ${url}  ${wasThere || facts === "" ? "" : `${facts}  `}${end}\n`);
}
