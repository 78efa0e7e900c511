// Puts versitygw (Apache-2.0), the S3 server that the tests run against, into .bench/s3/<version>/ and prints where it is.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildGoProgram } from "./go-program.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const version = "1.8.0";
const folder = join(root, ".bench", "s3", version);

export const s3ServerPath = join(folder, "versitygw");

/** Makes it, if it is not there yet: two minutes of a processor. Throws where it cannot be had. */
export function makeS3Server() {
  const module = `github.com/versity/versitygw/cmd/versitygw@v${version}`;
  if (existsSync(s3ServerPath) || buildGoProgram({ module, folder })) return;
  throw new Error(`no versitygw ${version}: it needs Go (https://go.dev/dl)`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  makeS3Server();
  console.log(s3ServerPath);
}
