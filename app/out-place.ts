import { bytesText, OptionError } from "../options/index.ts";
import { maybePlaceOfAddress, PART_MIN_BYTES, type Place, schemeOf, withoutLastSlash } from "../storage/index.ts";

/** Where an output goes, as people write it: a path, or an address, percent-encoded. @throws OptionError `options/value` */
export function outPlaceOf(text: string): Place {
  const place = maybePlaceOfAddress(text);
  if (place !== undefined) return schemeOf(place) === "file" ? place : withoutLastSlash(place);
  throw new OptionError(
    "options/value",
    `${text.replace(/[?#].*|(?<=:\/\/)[^/]*@/gs, "…")}: this is no address of an output`,
    {
      hint: "Write s3://bucket/prefix, percent-encoded (%40 for @, %2B for +), without a query or a password.",
    },
  );
}

/** What a bucket asks of the options of a merge. @throws OptionError `options/value` */
export function checkForPlace(out: Place, { sliceBytes }: { readonly sliceBytes: number }): void {
  if (schemeOf(out) === "file" || sliceBytes >= PART_MIN_BYTES) return;
  throw new OptionError(
    "options/value",
    `--slice-size ${bytesText(sliceBytes)}: into a bucket a slice is a part of an upload, which has ${bytesText(PART_MIN_BYTES)} at least`,
    { hint: `Give --slice-size ${bytesText(PART_MIN_BYTES)} or more, or leave it away.` },
  );
}
