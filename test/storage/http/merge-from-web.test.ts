/** Models behind https: the same weights as of models on this machine, by few requests. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { type runMerge as RunMerge, resourcesFor } from "../../../app/index.ts";
import { transferOf } from "../../../app/transfer.ts";
import { openPath } from "../../../cli/commands/open-path.ts";
import { planCommand } from "../../../cli/commands/plan.ts";
import { defaultsOf } from "../../../options/index.ts";
import type { Prepared } from "../../../prepare/index.ts";
import { openStores, placeOf } from "../../../storage/index.ts";
import { hashesButOfNames, MODELS } from "../../e2e/cli-process.ts";
import { type RangeServer, rangeServer } from "../../support/range-server.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

// As built: the threads are files of the build.
const { runMerge } = (await import(new URL("../../../dist/app/index.js", import.meta.url).href)) as {
  readonly runMerge: typeof RunMerge;
};

const NAMES = ["tiny-base", "tiny-python", "tiny-prose"];

type At = (name: string) => string;

const two = (at: At, parameters: string) => `models:
  - {model: "${at("tiny-python")}"${parameters}}
  - {model: "${at("tiny-prose")}"${parameters}}
dtype: bfloat16
`;
/** One read of the base for all, one pass; no base; dots before; rows of one model after the other. */
const recipes: Readonly<Record<string, (at: At) => string>> = {
  ties: (at) =>
    `merge_method: ties\nbase_model: "${at("tiny-base")}"\n${two(at, ", parameters: {weight: 0.5, density: 0.5}")}`,
  linear: (at) => `merge_method: linear\n${two(at, ", parameters: {weight: 0.5}")}`,
  model_stock: (at) => `merge_method: model_stock\nbase_model: "${at("tiny-base")}"\n${two(at, "")}`,
  passthrough: (at) => `merge_method: passthrough\nmodels: [{model: "${at("tiny-prose")}"}]\n`,
};
const ties = (at: At) => recipes.ties?.(at) ?? "";

let folder: string;
let server: RangeServer;

beforeEach(async () => {
  folder = temporaryFolder();
  server = await rangeServer();
  for (const name of NAMES)
    for (const file of readdirSync(join(MODELS, name)))
      server.put(`/models/a%20b/${name}/${file}`, readFileSync(join(MODELS, name, file)));
});

const address = (name: string) => `${server.origin}/models/a%20b/${name}/`;

async function merge(
  recipe: string,
  out: string,
  planned: (prepared: Prepared) => void = () => {},
  more: { readonly sliceBytes?: number; readonly cacheBytes?: number } = {},
) {
  writeFileSync(join(folder, "r.yml"), recipe);
  const settings = { ...defaultsOf("merge"), cutEmbeddings: true, threads: 2, recipe: join(folder, "r.yml"), ...more };
  return runMerge(
    { ...settings, out: join(folder, out) },
    {
      planned: (prepared) => {
        planned(prepared);
        return { began: () => {}, progress: () => {}, warning: () => {}, counted: () => {} };
      },
      ended: () => {},
      onStop: () => {},
    },
  );
}

const weightsOf = (out: string) => hashesButOfNames(join(folder, out));

test.each(Object.entries(recipes))(
  "%s of models on a server has the bytes of the same models here",
  async (_, recipe) => {
    expect(
      await merge(
        recipe((name) => join(MODELS, name)),
        "here",
      ),
    ).toMatchObject({ outcome: "done" });
    expect(await merge(recipe(address), "there")).toMatchObject({ outcome: "done" });
    expect(Object.keys(weightsOf("here"))).toContain("model.safetensors");
    expect(weightsOf("there")).toEqual(weightsOf("here"));
  },
);

test("a model's weights are read by a request for each file and thread, and one or two for each slice and model", async () => {
  await merge(ties(address), "out");
  const ranges = server.asked.filter(({ path }) => path.endsWith(".safetensors"));
  const weights = [...server.files].filter(([path]) => path.endsWith(".safetensors"));
  const bytes = weights.reduce((sum, [, held]) => sum + held.bytes.length, 0);
  const asked = ranges.reduce((sum, { range }) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
    return sum + Number(last) - Number(first) + 1;
  }, 0);
  // Headers first, and what is stored twice is looked at; then each byte once.
  expect(asked).toBeLessThan(1.05 * bytes + 3 * 2 * 65_536);
  expect(ranges.filter(({ headers }) => headers["if-match"] !== undefined).length).toBeLessThanOrEqual(20);
});

test("what the plan says is brought is what the server gives after it", async () => {
  let stated: ReturnType<typeof transferOf>;
  let planned = 0;
  await merge(ties(address), "out", ({ plan, inputs }) => {
    stated = transferOf(plan, inputs, resourcesFor({ threads: 2 }));
    planned = server.asked.length;
  });
  const after = server.asked.slice(planned).filter(({ path }) => path.endsWith(".safetensors"));
  const bytes = after.reduce((sum, { range }) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
    return sum + Number(last) - Number(first) + 1;
  }, 0);
  expect(bytes / (stated?.bytes ?? 0)).toBeCloseTo(1, 2);
  // Threads that find no work open no file.
  expect(after.length).toBeLessThanOrEqual(stated?.requests ?? 0);
  const printed: string[] = [];
  const io = { stdout: (text: string) => printed.push(text), stderr: () => {} };
  const options = { ...defaultsOf("plan"), cutEmbeddings: true, threads: 2, json: false, verbose: false };
  expect(await planCommand([join(folder, "r.yml")], options, io)).toBe(0);
  expect(printed.join("")).toMatch(/^brings {2}9\.3 MiB by about 15 requests: 9\.3 MiB once$/m);
});

test("with --cache-bytes what several slices share is brought once for all threads and rounds, and the plan says so", async () => {
  const brought = async (out: string, cacheBytes: number | undefined) => {
    let planned = 0;
    let stated: ReturnType<typeof transferOf>;
    const said = ({ plan, inputs }: Prepared) => {
      stated = transferOf(plan, inputs, { ...resourcesFor({ threads: 2 }), cacheBytes });
      planned = server.asked.length;
    };
    const more = { sliceBytes: 128 * 1024, ...(cacheBytes === undefined ? {} : { cacheBytes }) };
    expect(await merge(recipes.model_stock!(address), out, said, more)).toMatchObject({ outcome: "done" });
    const bytes = server.asked.slice(planned).reduce((sum, { path, range }) => {
      const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
      // A thread that finds all of a file in the cache does not open it.
      const isOpening = range === "bytes=0-0";
      return path.endsWith(".safetensors") && !isOpening ? sum + Number(last) - Number(first) + 1 : sum;
    }, 0);
    return { bytes, stated: stated! };
  };
  const plain = await brought("plain", undefined);
  const cached = await brought("cached", 64 * 2 ** 20);
  expect(weightsOf("cached")).toEqual(weightsOf("plain"));
  expect(plain.stated.cache).toMatchObject({ savedBytes: 0, whole: cached.stated.cache?.whole });
  expect(cached.stated.cache?.savedBytes).toBeGreaterThan(1_000_000);
  expect(plain.bytes - cached.bytes).toBe(cached.stated.cache?.savedBytes);
  expect(cached.bytes / cached.stated.bytes).toBeCloseTo(1, 2);
});

test("a model that is replaced in mid merge stops it, by name", async () => {
  let isPlanned = false;
  server.faults.push((asked, _, held) => {
    if (isPlanned && asked.path.includes("tiny-prose/model") && asked.headers["if-match"] !== undefined && held)
      held.etag = '"another"';
    return false;
  });
  const end = await merge(ties(address), "out", () => {
    isPlanned = true;
  });
  expect(end).toMatchObject({ outcome: "failed", cause: { message: expect.stringContaining("tiny-prose") } });
  expect(existsSync(join(folder, "out", "model.safetensors"))).toBe(false);
});

test("a model on a server is looked at as one here", async () => {
  const there = await openPath(openStores(), placeOf(address("tiny-base")));
  const here = await openPath(openStores(), placeOf(join(MODELS, "tiny-base")));
  expect([...there.tensors.keys()]).toEqual([...here.tensors.keys()]);
  expect(there.config).toEqual(here.config);
  expect(there.companions).toEqual(here.companions);
  const [shard = ""] = readdirSync(join(MODELS, "tiny-base")).filter((name) => name.endsWith(".safetensors"));
  const file = await openPath(openStores(), placeOf(`${address("tiny-base")}${shard}`));
  expect(file.tensors.size).toBeGreaterThan(0);
  await expect(openPath(openStores(), placeOf(`${address("none")}`))).rejects.toMatchObject({
    code: "storage/not-found",
  });
});
