import { bytesText, OptionError } from "../options/index.ts";
import { UPLOADS_MAX } from "../runtime/index.ts";
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

/** What each thread keeps for slices of a merge that wait until their store has them. */
export function uploadBytesFor(out: Place, { sliceBytes }: { readonly sliceBytes: number }): number {
  return schemeOf(out) === "file" ? 0 : UPLOADS_MAX * sliceBytes;
}

/** What the place of an output asks of the options of a merge. @throws OptionError `options/value` */
export function checkForPlace(
  out: Place,
  { sliceBytes, seal }: { readonly sliceBytes: number; readonly seal: string },
): void {
  if (seal !== "read" && seal !== "checksums") {
    throw new OptionError("options/value", `--seal ${seal}: an output is sealed by read or by checksums`, {
      hint: "Give --seal read, --seal checksums, or leave it away.",
    });
  }
  if (seal === "checksums" && schemeOf(out) === "file") {
    throw new OptionError(
      "options/value",
      "--seal checksums: only the store of a bucket has checksums; what is merged into a folder, or for the Hub, is read back",
      { hint: "Leave it away, or merge into a bucket: s3://bucket/prefix." },
    );
  }
  if (schemeOf(out) === "file" || sliceBytes >= PART_MIN_BYTES) return;
  throw new OptionError(
    "options/value",
    `--slice-size ${bytesText(sliceBytes)}: into a bucket a slice is a part of an upload, which has ${bytesText(PART_MIN_BYTES)} at least`,
    { hint: `Give --slice-size ${bytesText(PART_MIN_BYTES)} or more, or leave it away.` },
  );
}
