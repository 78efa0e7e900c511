/** A document of a file: its text with as many empty lines before it as stand before it in the file, so that places stay true. */
export interface DocumentText {
  readonly text: string;
  /** Where the document ends in the file's text. */
  readonly endOffset: number;
}

/** What counts as a boundary is the same inside of block text and quotes: YAML gives "---" at the beginning of a line no other meaning. */
const boundary = /^---(?=[ \t]|$)/;

/** The documents of a file, those without content left out. */
export function documentsIn(text: string): DocumentText[] {
  const lines = text.split("\n");
  const documents: DocumentText[] = [];
  let first = 0;
  let offset = 0;
  let firstOffset = 0;
  const close = (end: number, endOffset: number): void => {
    const body = text.slice(firstOffset, endOffset);
    if (hasContent(body)) documents.push({ text: "\n".repeat(first) + body, endOffset });
    first = end;
    firstOffset = endOffset;
  };
  for (const [k, line] of lines.entries()) {
    if (k > first && boundary.test(line)) close(k, offset);
    offset += line.length + 1;
  }
  close(lines.length, text.length);
  return documents;
}

function hasContent(text: string): boolean {
  return text.split("\n").some((line) => !/^\s*(?:#.*)?$|^---\s*(?:#.*)?$|^\.\.\.\s*$|^%/.test(line));
}
