import { parentPort } from "node:worker_threads";
import { openStores } from "../../storage/index.ts";
import { endThread } from "../end-thread.ts";
import type { ToWorker } from "../messages.ts";
import { LockstepSessions } from "./lockstep-sessions.ts";

/** Entry of a thread that computes several merges of the same models in step. */
const port = parentPort;
if (port === null) throw new Error("worker/lockstep/thread.js runs as a worker thread only");
const sessions = new LockstepSessions(
  ({ asynchronous, ...connections }) => openStores({ blocking: !asynchronous, ...connections }),
  (message, transfer = []) => {
    port.postMessage(message, transfer);
    if (message.type === "ended") port.close();
  },
);
port.on("message", (message: ToWorker) => {
  sessions.receive(message).catch(endThread);
});
