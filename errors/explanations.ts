/** What docs/errors.md says beside a code, as Markdown. `npm run docs` makes that page. */
export interface Explanation {
  readonly means: string;
  /** What to do. */
  readonly advice: string;
}

/** Every code that begins with `Prefix/`, in the order of the page. */
export type Explanations<Prefix extends string = string> = Readonly<Record<`${Prefix}/${string}`, Explanation>>;
