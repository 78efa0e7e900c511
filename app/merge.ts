import { type MergeJobOptions, type Outcome, type Progress, runMergeJob } from "../coordinator/job/index.ts";
import { type ChosenEngine, chooseEngines } from "../merge/engines/index.ts";
import type { Failure } from "../merge/work/index.ts";
import { checkOptions, OptionError, type OptionValues } from "../options/index.ts";
import { type Prepared, readRecipe } from "../prepare/index.ts";
import { recipeTextUpTo } from "../recipe/index.ts";
import { join, maybePlaceOf, openStores, type Place, placeOf, type Stores, wholePlace } from "../storage/index.ts";
import { engineText, engineThreads } from "./engine-threads.ts";
import { jobAnywhere } from "./job-here.ts";
import { type JobLog, openJobLog } from "./job-log.ts";
import { checkForPlace, outPlaceOf, uploadBytesFor } from "./out-place.ts";
import { workerThreads } from "./own-threads.ts";
import { prepareHere } from "./prepare-here.ts";
import { type OpenedCache, openCache, planCache } from "./range-cache.ts";
import { resourcesFor } from "./resources.ts";

/** Of a chain the documents of `keep` are written too, as NAME or NAME=DIR. */
export interface MergeSettings extends OptionValues<"merge"> {
  /** Path of the recipe. */
  readonly recipe: string;
  /** Output directory, or a prefix of a bucket: `s3://bucket/prefix`. */
  readonly out: string;
  /** Folder below which journal and log are kept, and not beside the output: the same one each time that the merge is run. */
  readonly state?: string | undefined;
}

type MergeObserver = MergeJobOptions["observer"];

/** What a merge tells whoever started it. */
export interface MergePorts {
  /** A file of a model on the Hub is fetched into its cache: model, file, size. */
  fetching?(model: string, path: string, sizeBytes: number): void;
  /** What will be made, before anything of it is written; gives back who is told how it goes. Kept documents come first. */
  planned(prepared: Prepared, out: Place): MergeObserver;
  /** An output has come to its end; nobody hears of one that throws. */
  ended(end: MergeEnd): void;
  /** Called with a function that stops it cleanly; again where another one does from then on. */
  onStop(stop: () => void): void;
  /** The log of a job is in its output; from `level` on its lines go to `write` as well. */
  readonly log?: { readonly level: string; readonly write: (text: string) => void };
}

export interface MergeEnd extends Outcome {
  readonly out: Place;
  /** SHA-256 of the plan. */
  readonly digest: string;
  readonly seconds: number;
  /** Absent where there was nothing left to do. */
  readonly last?: Progress | undefined;
}

/**
 * A recipe's merge in threads of this process, from wherever an earlier run left it; of several outputs the next is begun when the one
 * before is done. Gives back how the last one ended that was begun.
 * @throws OptionError, EngineError; the errors of preparing, and of `runMergeJob`
 */
export async function runMerge(settings: MergeSettings, ports: MergePorts): Promise<MergeEnd> {
  checkOptions("merge", settings);
  const engines = await chooseEngines(settings.engine);
  const store = openStores({ takeOver: settings.takeOver });
  const recipePath = placeOf(settings.recipe);
  const text = await readRecipe(store, recipePath);
  const kept = settings.keep.map((keep) => keptDocument(keep, text, settings));
  for (const { upTo, out } of kept) {
    const end = await mergeText(store, upTo, recipePath, out, engines, settings, ports);
    if (end.outcome !== "done") return end;
  }
  return mergeText(store, text, recipePath, outPlaceOf(settings.out), engines, settings, ports);
}

/** NAME=DIR; NAME alone goes beside the output. */
function keptDocument(keep: string, text: string, settings: MergeSettings) {
  const equals = keep.indexOf("=");
  const name = equals < 0 ? keep : keep.slice(0, equals);
  const upTo = recipeTextUpTo(text, name);
  if (upTo === undefined) {
    throw new OptionError("options/value", `--keep ${name}: no document of ${settings.recipe} is called so`, {
      hint: "A document is named by its key name:.",
    });
  }
  const out = equals < 0 ? `${settings.out.replace(/[/\\]+$/, "")}-${keep}` : keep.slice(equals + 1);
  return { upTo, out: outPlaceOf(out) };
}

async function mergeText(
  store: Stores,
  text: string,
  recipePath: Place,
  out: Place,
  chosen: readonly ChosenEngine[],
  settings: MergeSettings,
  ports: MergePorts,
): Promise<MergeEnd> {
  const began = performance.now();
  const state = maybePlaceOf(settings.state);
  checkForPlace(out, settings);
  const run = { store, out: wholePlace(out), state, settings, fetching: ports.fetching };
  const prepared = await prepareHere(store, text, recipePath, settings, run);
  const { digest } = prepared;
  const { threads, budget, memoryBytes, engineMaximumBytes } = resourcesFor({
    ...settings,
    uploadBytes: uploadBytesFor(out, settings),
  });
  const engines = engineThreads(chosen, threads, engineMaximumBytes);
  const told = new Remembered(ports.planned(prepared, out));
  let log: JobLog | undefined;
  let cache: OpenedCache | undefined;
  try {
    const { folder, ...local } = await jobAnywhere(store, prepared, wholePlace(out), settings, state);
    const kept = planCache(prepared.plan, prepared.inputs, { budget }, settings.cacheBytes ?? 0);
    if (kept.sizeBytes > 0) {
      await store.makeDirectory(folder);
      cache = await openCache(kept, folder);
    }
    const withCache = { ...budget, ...(cache === undefined ? {} : { cache: cache.description }) };
    const outcome = await runMergeJob({
      ...local,
      surveyElements: budget.rangeElements,
      workers: (job) => {
        const { level = "silent", write = () => {} } = ports.log ?? {};
        log = openJobLog(store, join(folder, "job.log"), level, write);
        const inputs = job.inputs.map(({ files }) => files.map(({ path }) => path));
        const about = { plan: digest, threads, memoryBytes, engine: engineText(chosen), node: process.version, inputs };
        log.log.info(about, "merge begins");
        const replaced = (failure: Failure) => {
          told.warning(failure.message);
          log?.log.warn(failure, "thread replaced");
        };
        return workerThreads({ engines, job, budget: withCache, replaced });
      },
      observer: told,
      onStop: (stop) => ports.onStop(stop),
    });
    if (cache?.isGivenUp() === true) told.warning(`the disk took no more of what --cache-bytes keeps in ${folder}`);
    const seconds = (performance.now() - began) / 1000;
    const { last, counters } = told;
    const { bytesRead, bytesWritten } = last ?? {};
    const { outcome: ended } = outcome;
    log?.log.info(
      { outcome: ended, seconds, bytesRead, bytesWritten, counters: Object.fromEntries(counters) },
      "merge ended",
    );
    const end = { ...outcome, out, digest, seconds, last };
    ports.ended(end);
    return end;
  } finally {
    cache?.close();
    await log?.close();
  }
}

/** Passes on what is told, and keeps what is asked for at the end. */
class Remembered implements MergeObserver {
  readonly #observer: MergeObserver;
  last: Progress | undefined;
  readonly counters = new Map<string, number>();

  constructor(observer: MergeObserver) {
    this.#observer = observer;
  }

  began(begun: Parameters<MergeObserver["began"]>[0]): void {
    this.#observer.began(begun);
  }

  progress(progress: Progress): void {
    this.last = progress;
    this.#observer.progress(progress);
  }

  warning(text: string): void {
    this.#observer.warning(text);
  }

  counted(counter: Parameters<MergeObserver["counted"]>[0]): void {
    this.counters.set(counter, (this.counters.get(counter) ?? 0) + 1);
    this.#observer.counted(counter);
  }
}
