import { parentPort, workerData } from "node:worker_threads";
import { openStores } from "../storage/index.ts";
import { InlinePlanner, plannedOf } from "./planner.ts";
import type { PlanningSurroundings, PlanningWork } from "./planning-threads.ts";
import { Roots } from "./roots.ts";

/** Entry of a thread that plans recipes, one after another. */
const port = parentPort;
if (port === null) throw new Error("service/planning-thread.js runs as a worker thread only");
const store = openStores();
const planner = Roots.open(store, (workerData as PlanningSurroundings).roots).then(
  (roots) => new InlinePlanner(store, roots),
);

port.on("message", ({ recipe, options, layout }: PlanningWork) => {
  void planner
    .then((planner) => planner.plan(recipe, options, layout))
    .then((prepared) => ({ prepared }), plannedOf)
    .then((planned) => port.postMessage(planned));
});
