/** What the Hub says about large files that are to be sent: the batch answer of Git LFS, and the Hub's own way of parts. */

/** A large file that is to be sent, by what it holds. */
export interface LargeFile {
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** How a large file is sent. All addresses but `verify` are signed, and secrets. */
export interface LfsUpload {
  /** Where the bytes go; in parts, in their order. */
  readonly parts: readonly LfsPart[];
  /** Told once all parts are there; undefined of a file that goes as a whole. */
  readonly complete: URL | undefined;
  /** Asked at the end whether it came whole, where the Hub wants to be. */
  readonly verify: URL | undefined;
}

export interface LfsPart {
  readonly url: URL;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

/** `there`: nothing is to be sent. `refused`: what the Hub says of it. */
export type LfsAnswer =
  | { readonly kind: "there" }
  | { readonly kind: "send"; readonly upload: LfsUpload }
  | { readonly kind: "refused"; readonly status: number; readonly said: string };

/** The answer for each file that was asked about, by its hash; undefined where that is no answer of the Hub's. */
export function maybeLfsAnswers(
  answer: unknown,
  files: readonly LargeFile[],
): ReadonlyMap<string, LfsAnswer> | undefined {
  const objects = recordOf(answer)?.objects;
  if (!Array.isArray(objects)) return undefined;
  const answers = new Map<string, LfsAnswer>();
  for (const file of files) {
    const object = objects.map(recordOf).find((each) => each?.oid === file.sha256);
    const found = object && maybeAnswer(object, file);
    if (found === undefined) return undefined;
    answers.set(file.sha256, found);
  }
  return answers;
}

function maybeAnswer(object: Fields, file: LargeFile): LfsAnswer | undefined {
  const error = recordOf(object.error);
  if (error !== undefined) return { kind: "refused", status: Number(error.code), said: String(error.message ?? "") };
  const actions = recordOf(object.actions);
  const send = recordOf(actions?.upload);
  if (send === undefined) return { kind: "there" };
  const href = maybeUrl(send.href);
  const verify = recordOf(actions?.verify);
  const verifyUrl = maybeUrl(verify?.href);
  if (href === undefined || (verify !== undefined && verifyUrl === undefined)) return undefined;
  const header = recordOf(send.header) ?? {};
  if (header.chunk_size === undefined) {
    const whole = { url: href, offsetBytes: 0, sizeBytes: file.sizeBytes };
    return { kind: "send", upload: { parts: [whole], complete: undefined, verify: verifyUrl } };
  }
  const parts = maybeParts(header, file.sizeBytes);
  return parts && { kind: "send", upload: { parts, complete: href, verify: verifyUrl } };
}

/** "chunk_size", and an address for each part by its number: "00001". */
function maybeParts(header: Fields, sizeBytes: number): readonly LfsPart[] | undefined {
  const partBytes = Number(header.chunk_size);
  const numbers = Object.keys(header)
    .filter((key) => /^\d+$/.test(key))
    .sort((a, b) => Number(a) - Number(b));
  const isCount =
    Number.isSafeInteger(partBytes) && partBytes > 0 && numbers.length === Math.ceil(sizeBytes / partBytes);
  if (!isCount || numbers.some((number, k) => Number(number) !== k + 1)) return undefined;
  const parts = numbers.flatMap((number, k) => {
    const url = maybeUrl(header[number]);
    const offsetBytes = k * partBytes;
    return url === undefined ? [] : [{ url, offsetBytes, sizeBytes: Math.min(partBytes, sizeBytes - offsetBytes) }];
  });
  return parts.length === numbers.length ? parts : undefined;
}

type Fields = Readonly<Record<string, unknown>>;

function recordOf(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

function maybeUrl(text: unknown): URL | undefined {
  if (typeof text !== "string" || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  return /^https?:$/.test(url.protocol) ? url : undefined;
}
