import { isBelow, type Place, type Source } from "../storage/index.ts";
import { PublishError } from "./errors.ts";

/**
 * An output is never written over what it is made of, whatever the options say. `inputs`: files by their real paths.
 * @throws PublishError `publish/output-is-input`
 */
export async function checkOutputIsNoInput(
  store: Source,
  out: Place,
  inputs: readonly { readonly label: string; readonly files: readonly { readonly path: Place }[] }[],
): Promise<void> {
  if (inputs.every(({ files }) => files.length === 0) || (await store.identity(out)) === undefined) return;
  const real = await store.realPlace(out);
  for (const { label, files } of inputs) {
    const file = files.find(({ path }) => isBelow(real, path));
    if (file === undefined) continue;
    throw new PublishError(
      "publish/output-is-input",
      `${label}: ${file.path} lies in the output directory ${out}: the merge would write over what it reads`,
      { hint: "Choose another directory for the output, with --overwrite or without." },
    );
  }
}
