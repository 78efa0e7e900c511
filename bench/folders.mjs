import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const repositoryRoot = dirname(dirname(fileURLToPath(import.meta.url)));
/** Where benchmarks keep checkpoints, outputs and results; git ignores it. BENCH_DIR names another folder. */
export const benchFolder = resolve(process.env.BENCH_DIR ?? join(repositoryRoot, ".bench"));
