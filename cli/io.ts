/** Where a command writes: results to stdout, all else to stderr. Text is passed on as it is, newlines included. */
export interface Io {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Width of the terminal that stdout is; undefined where it is none. */
  readonly columns?: number | undefined;
}
