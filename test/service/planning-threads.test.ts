/** Plans that are made in threads: the same as on the spot, within limits, and nobody else waits. */
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { defaultsOf } from "../../options/index.ts";
import { InlinePlanner, type PlanningLimits, PlanningThreads, RefusedError, Roots } from "../../service/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const store = new FileStore();
const RECIPE = "merge_method: linear\nmodels:\n  - {model: tiny-base, parameters: {weight: 1}}\n";
const OPTIONS = { ...defaultsOf("submit"), requestId: "r", recipeName: "r.yml" };
const LIMITS: PlanningLimits = { timeMs: 60_000, memoryBytes: 2 ** 29, threads: 2 };
let roots: Roots;

beforeAll(async () => {
  roots = await Roots.open(store, [{ name: "models", path: placeOf(resolve("examples/models")) }]);
});

function threads(limits: Partial<PlanningLimits> = {}, entry?: string): PlanningThreads {
  let url: URL | undefined;
  if (entry !== undefined) {
    const path = join(temporaryFolder(), "thread.mjs");
    writeFileSync(
      path,
      `import { parentPort } from "node:worker_threads";\nparentPort.on("message", ({ recipe }) => {${entry}});`,
    );
    url = pathToFileURL(path);
  }
  const made = new PlanningThreads({ roots: roots.all }, { ...LIMITS, ...limits }, url);
  onTestFinished(() => made.end());
  return made;
}

const refusal = (planned: Promise<unknown>) =>
  planned.then(
    () => undefined,
    (error: unknown) => error,
  );

test("a plan is the one that is made on the spot, whatever the thread did before", async () => {
  const planner = threads({ threads: 1 });
  const there = await new InlinePlanner(store, roots).plan(RECIPE, OPTIONS);
  for (const _ of [1, 2]) expect(await planner.plan(RECIPE, OPTIONS)).toEqual(there);
});

test("what is refused is refused with the same faults, and what fails fails alike", async () => {
  const planner = threads();
  const inline = new InlinePlanner(store, roots);
  const none = "merge_method: linear\nmodels:\n  - {model: none-1}\n  - {model: none-2}\n";
  for (const recipe of [none, "merge_method: linear\n", ": : :"]) {
    const [here, there] = await Promise.all([
      refusal(inline.plan(recipe, OPTIONS)),
      refusal(planner.plan(recipe, OPTIONS)),
    ]);
    expect(there).toBeInstanceOf(RefusedError);
    expect((there as RefusedError).failures).toEqual((here as RefusedError).failures);
  }
  const outside = `merge_method: linear\nmodels:\n  - {model: ${temporaryFolder()}}\n`;
  const [here, there] = await Promise.all([
    refusal(inline.plan(outside, OPTIONS)),
    refusal(planner.plan(outside, OPTIONS)),
  ]);
  expect(there).toMatchObject({ code: (here as { code: string }).code, message: (here as Error).message });
});

test("a recipe that takes too long is given up, and the next one is planned by another thread", async () => {
  const planner = threads(
    { timeMs: 300, threads: 1 },
    "if (recipe === 'slow') for (;;); else parentPort.postMessage({ prepared: recipe });",
  );
  const slow = planner.plan("slow", OPTIONS);
  const next = planner.plan("next", OPTIONS);
  expect(await refusal(slow)).toMatchObject({
    code: "service/planning-limit",
    hint: expect.stringContaining("--planning-time"),
  });
  expect(await next).toBe("next");
});

test("a recipe that takes too much memory is given up, and nothing else with it", async () => {
  const entry =
    "if (recipe === 'large') { const all = []; for (;;) all.push(new Array(1000).fill(recipe + all.length)); } parentPort.postMessage({ prepared: recipe });";
  const planner = threads({ memoryBytes: 2 ** 26, threads: 1 }, entry);
  expect(await refusal(planner.plan("large", OPTIONS))).toMatchObject({
    ...{ code: "service/planning-limit", hint: expect.stringContaining("--planning-memory") },
  });
  expect(await planner.plan("small", OPTIONS)).toBe("small");
});

test("as many recipes as there are threads are planned at once, each others' time untouched; more wait", async () => {
  // A plan is made once as many were asked for as may be at once.
  const planner = threads(
    { threads: 2 },
    "setTimeout(() => parentPort.postMessage({ prepared: recipe }), recipe === 'slow' ? 1e6 : 0);",
  );
  const slow = refusal(planner.plan("slow", OPTIONS));
  for (const recipe of ["a", "b", "c"]) expect(await planner.plan(recipe, OPTIONS)).toBe(recipe);
  await planner.end();
  expect(await slow).toMatchObject({ code: "service/planning-limit", retryable: true });
});
