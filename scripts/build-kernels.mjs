// Compiles merge/kernels (AssemblyScript) to dist/merge/kernels/kernels.wasm.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const output = "dist/merge/kernels/kernels.wasm";

/** No relaxed SIMD: its results differ from one machine to the next. No garbage collector: kernels allocate nothing. */
const options = [
  "merge/kernels/index.ts",
  ...["--baseDir", root],
  "-O3",
  "--noAssert",
  ...["--enable", "simd"],
  ...["--runtime", "stub"],
  "--importMemory",
  ...["--disableWarning", "112"], // v128 between our own files; no export of the module takes one
  ...["--outFile", output],
];
if (process.argv.includes("--text")) options.push("--textFile", output.replace(/wasm$/, "wat"));

mkdirSync(join(root, dirname(output)), { recursive: true });
const { error, stderr, stdout } = await asc.main(options, {
  writeFile: (name, contents) => writeFileSync(join(root, name), contents),
});
process.stdout.write(stdout.toString());
process.stderr.write(stderr.toString());
if (error) process.exit(1);
