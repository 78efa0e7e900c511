import { elementsIn, isWholeElement, maybeElement } from "./xml.ts";

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
  if (!isWholeElement(xml, "ListBucketResult")) return undefined;
  const within = (element: string, name: string) =>
    elementsIn(xml, element).flatMap((inner) => maybeElement(inner, name) ?? []);
  const top = xml.replaceAll(/<(Contents|CommonPrefixes)>[\s\S]*?<\/\1>/g, "");
  const isCut = maybeElement(top, "IsTruncated") === "true";
  return {
    keys: within("Contents", "Key"),
    prefixes: within("CommonPrefixes", "Prefix"),
    next: isCut ? maybeElement(top, "NextContinuationToken") : undefined,
  };
}
