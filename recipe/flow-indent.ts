/** A text whose flow collections are indented, and the places where spaces were added. */
export interface IndentedText {
  readonly text: string;
  /** Spaces added before each line (lines count from 1). */
  readonly addedOnLine: ReadonlyMap<number, number>;
}

/**
 * Indents the lines inside of `[...]` and `{...}`. To YAML such a line must be indented deeper than the key before it;
 * PyYAML does not mind, so recipes that mergekit reads may have it. To be tried only where the text as it stands cannot
 * be read, and taken only if the result can: quotes and comments are understood here, block scalars are not.
 */
export function withIndentedFlow(text: string): IndentedText {
  const lines = text.split("\n");
  const margin = 1 + lines.reduce((widest, line) => Math.max(widest, line.length - line.trimStart().length), 0);
  const addedOnLine = new Map<number, number>();
  let depth = 0;
  const indented = lines.map((line, i) => {
    const inFlow = depth > 0;
    depth = depthAfter(line, depth);
    if (!inFlow) return line;
    addedOnLine.set(i + 1, margin);
    return " ".repeat(margin) + line;
  });
  return { text: indented.join("\n"), addedOnLine };
}

/** Quoted text, a comment, or a bracket: what matters of a line. */
const tokens = /"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|(?<=^|\s)#.*|[[\]{}]/g;

function depthAfter(line: string, depth: number): number {
  let after = depth;
  for (const [token] of line.matchAll(tokens)) {
    if (token === "[" || token === "{") after++;
    else if (token === "]" || token === "}") after = Math.max(0, after - 1);
  }
  return after;
}
