/** What is done to a tensor besides merging it. */
export interface Note {
  /** Name in the output; of a skipped tensor that is in no output, in the input. */
  readonly tensor: string;
  /** Label of the input it concerns. */
  readonly input?: string;
  readonly reason: string;
}
