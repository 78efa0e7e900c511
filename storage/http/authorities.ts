import { X509Certificate } from "node:crypto";
import { StorageError } from "../errors.ts";
import { placeOf } from "../place.ts";
import type { Source } from "../port.ts";
import { readWhole } from "../whole.ts";

/** Variables that name a file of authorities: AWS's tools read the first, OpenSSL, curl and Python the second. */
const NAMED_IN = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"] as const;
/** Read by Node itself, but not where others are given besides. */
const NODES_OWN = "NODE_EXTRA_CA_CERTS";
const BUNDLE_MAX_BYTES = 8 * 2 ** 20;

/** Authorities to trust beside those of Node, as PEM; undefined where none are named. @throws StorageError `storage/authorities` */
export async function readAuthorities(
  files: Source,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<string | undefined> {
  const named = NAMED_IN.filter((name) => (environment[name] ?? "") !== "");
  if (named.length === 0) return undefined;
  const all = (environment[NODES_OWN] ?? "") === "" ? named : [...named, NODES_OWN];
  // Often all of them name one file: its authorities are read once, which takes 50 ms of processor time where there are 150.
  const pathOf = (name: string) => environment[name] ?? "";
  const once = all.filter((name, k) => all.findIndex((other) => pathOf(other) === pathOf(name)) === k);
  const texts = await Promise.all(once.map((name) => authoritiesIn(files, name, pathOf(name))));
  return texts.join("\n");
}

async function authoritiesIn(files: Source, name: string, path: string): Promise<string> {
  const refused = (what: string, cause?: unknown) =>
    new StorageError("storage/authorities", `cannot use the certificates of ${path}, which ${name} names: ${what}`, {
      hint: `Give a file of certificates in PEM, or unset ${name}.`,
      cause,
    });
  try {
    const text = new TextDecoder().decode(await readWhole(files, placeOf(path), BUNDLE_MAX_BYTES));
    const blocks = text.match(/-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs) ?? [];
    if (blocks.length === 0) throw new Error("it holds none");
    for (const block of blocks) new X509Certificate(block);
    return text;
  } catch (cause) {
    throw refused(cause instanceof Error ? cause.message : String(cause), cause);
  }
}
