/** One page of what is in a bucket (ListObjectsV2), flat as it is. */
export interface ListPage {
  readonly keys: readonly string[];
  /** Each ends in "/". */
  readonly prefixes: readonly string[];
  /** Undefined: it is the last page. */
  readonly next: string | undefined;
}

/** Undefined of what is no such answer. */
export function maybeListPage(xml: string): ListPage | undefined {
  if (!/<ListBucketResult[\s>]/.test(xml) || !/<\/ListBucketResult>\s*$/.test(xml)) return undefined;
  const within = (element: string, name: string) =>
    [...xml.matchAll(new RegExp(`<${element}>([\\s\\S]*?)</${element}>`, "g"))].flatMap(([, inner = ""]) => {
      const value = maybeElement(inner, name);
      return value === undefined ? [] : [value];
    });
  const top = xml.replaceAll(/<(Contents|CommonPrefixes)>[\s\S]*?<\/\1>/g, "");
  const isCut = maybeElement(top, "IsTruncated") === "true";
  return {
    keys: within("Contents", "Key"),
    prefixes: within("CommonPrefixes", "Prefix"),
    next: isCut ? maybeElement(top, "NextContinuationToken") : undefined,
  };
}

function maybeElement(xml: string, name: string): string | undefined {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
  return text === undefined ? undefined : unescaped(text);
}

const named: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function unescaped(text: string): string {
  return text.replaceAll(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex?: string, decimal?: string, name = "") => {
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return Number.isNaN(code) ? (named[name] ?? whole) : String.fromCodePoint(code);
  });
}
