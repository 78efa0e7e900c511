import { execFileSync } from "node:child_process";
import { symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

/**
 * Compiles TypeScript files of the repository, with all they import, into `folder`, for tests that need a process of their
 * own: Node 20 runs no TypeScript. Paths in the repository stay the same below `folder`.
 */
export function compileInto(folder: string, files: readonly string[]): void {
  const compiler = resolve("node_modules/typescript/bin/tsc");
  const settings = JSON.stringify({
    extends: resolve("tsconfig.json"),
    compilerOptions: {
      outDir: folder,
      rootDir: resolve("."),
      declaration: false,
      typeRoots: [resolve("node_modules/@types")],
    },
    // What stands in for types of others.
    include: [resolve("**/*.d.ts")],
    exclude: ["node_modules", "dist", "build", ".bench"].map((name) => resolve(name)),
    files: files.map((file) => resolve(file)),
  });
  writeFileSync(join(folder, "tsconfig.json"), settings);
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  symlinkSync(resolve("node_modules"), join(folder, "node_modules"));
  execFileSync(process.execPath, [compiler, "-p", folder], { stdio: ["ignore", "inherit", "inherit"] });
}
