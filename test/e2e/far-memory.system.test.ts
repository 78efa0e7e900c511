/** Hundreds of models that are far take no more memory than a few. Linux alone: peaks are read from /proc. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { linuxOnly } from "../../scripts/linux-only.mjs";
import { rangeServer } from "../support/range-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeSafetensors } from "../support/write-safetensors.ts";
import { MAIN } from "./cli-process.ts";

linuxOnly("Peaks of memory are read from /proc");

const PEAK = fileURLToPath(new URL("../../bench/peak.mjs", import.meta.url));
const ROWS = 4096;
const COLUMNS = 1024;
const MODELS_MAX = 200;
const PAIRS_MAX = 3;
/** 1.17 with Node 20, 1.22 with Node 22. 1.10 is aimed at. */
const RATIO_MAX = 1.3;

/** Bytes that are bf16 between -1 and 1, from a seed. */
function weights(seed: number): Uint8Array {
  const words = new Uint16Array(ROWS * COLUMNS);
  let state = seed;
  for (let k = 0; k < words.length; k++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[k] = ((state >>> 16) & 0x8000) | (0x3c00 + ((state >>> 9) & 0x2ff));
  }
  return new Uint8Array(words.buffer);
}

test("200 models on a server take at most 1.3 times the memory that 5 take, and less than is allowed", {
  timeout: 600_000,
}, async () => {
  const folder = temporaryFolder();
  const server = await rangeServer();
  // A few that differ, each under many names.
  const kinds = [1, 2, 3].map((seed) => {
    const path = join(folder, `${seed}.safetensors`);
    const shape = [ROWS, COLUMNS];
    const tensors = ["up_proj", "gate_proj"].map((name, k) => {
      return { name: `model.layers.0.mlp.${name}.weight`, dtype: "BF16", shape, bytes: weights(10 * seed + k) };
    });
    writeSafetensors(path, tensors);
    return readFileSync(path);
  });
  for (let k = 0; k <= MODELS_MAX; k++) server.put(`/m${k}/model.safetensors`, kinds[k % 3]!);
  let runs = 0;
  const peakOf = async (models: number) => {
    const list = Array.from({ length: models }, (_, k) => {
      return `  - {model: "${server.origin}/m${k + 1}/", parameters: {weight: 0.1, density: 0.5}}\n`;
    });
    const recipe = join(folder, `${models}.yml`);
    writeFileSync(
      recipe,
      `merge_method: ties\nbase_model: "${server.origin}/m0/"\ndtype: bfloat16\nmodels:\n${list.join("")}`,
    );
    mkdirSync(join(folder, "out"), { recursive: true });
    const options = ["--threads", "2", "--memory", "512MiB", "--slice-size", "8MiB"];
    const out = join(folder, "out", `${runs++}`);
    const child = spawn(process.execPath, [PEAK, MAIN, "merge", recipe, out, ...options], {
      stdio: ["ignore", "ignore", "pipe", "pipe"],
    });
    const texts = ["", ""];
    for (const [k, stream] of [child.stderr, child.stdio[3]].entries())
      stream?.on("data", (text: Buffer) => {
        texts[k] += text.toString();
      });
    const [code] = await once(child, "close");
    expect({ code, stderr: texts[0] }).toMatchObject({ code: 0 });
    return Number(texts[1]?.split(" ")[0]);
  };
  const ratios: number[] = [];
  // When garbage is collected is chance: of some pairs the best. Windows whose number grew with that of the models made 2.65 of each. Of more
  // than 8 models the base is held between their groups: 244 and 284 MB.
  while (ratios.length < PAIRS_MAX && !ratios.some((ratio) => ratio <= RATIO_MAX)) {
    const [few, many] = [await peakOf(5), await peakOf(MODELS_MAX)];
    expect(few).toBeGreaterThan(50 * 2 ** 20);
    expect(many).toBeLessThan(512 * 2 ** 20);
    ratios.push(many / few);
  }
  expect(Math.min(...ratios), `of pairs: ${ratios.map((ratio) => ratio.toFixed(2)).join(", ")}`).toBeLessThanOrEqual(
    RATIO_MAX,
  );
});
