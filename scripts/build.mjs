// Builds dist/: the wire contract by buf and ts-proto, TypeScript by tsc, kernels by asc.
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const node = (script, ...args) => execFileSync(process.execPath, [script, ...args], { cwd: root, stdio: "inherit" });

rmSync(join(root, "dist"), { recursive: true, force: true });
const buf = join(dirname(require.resolve("@bufbuild/buf/package.json")), "bin", "buf");
node(buf, "generate");
node(join(dirname(require.resolve("typescript/package.json")), "bin", "tsc"), "-p", ".");
node("scripts/build-kernels.mjs");
mkdirSync(join(root, "dist", "proto"), { recursive: true });
node(buf, "build", "-o", "dist/proto/descriptors.binpb", "--as-file-descriptor-set");
chmodSync(join(root, "dist", "cli", "main.js"), 0o755);
