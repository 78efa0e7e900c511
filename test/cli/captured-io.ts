import type { Io } from "../../cli/io.ts";

/** An Io that keeps what a command prints. */
export class CapturedIo implements Io {
  out = "";
  err = "";

  readonly stdout = (text: string): void => {
    this.out += text;
  };

  readonly stderr = (text: string): void => {
    this.err += text;
  };

  /** Of `--json`: one object a line. */
  objects(): Record<string, unknown>[] {
    const lines = this.out.split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }
}
