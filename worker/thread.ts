import { parentPort } from "node:worker_threads";
import { FileStore } from "../storage/index.ts";
import type { ToWorker } from "./messages.ts";
import { WorkerSession } from "./session.ts";

/** Entry of a worker thread: a session over the thread's port, with a store that blocks this thread alone. */
const port = parentPort;
if (port === null) throw new Error("worker/thread.js runs as a worker thread only");
const store = new FileStore({ blocking: true });
const session = new WorkerSession({
  storeFor: () => store,
  send: (message, transfer = []) => {
    port.postMessage(message, transfer);
    if (message.type === "ended") port.close();
  },
});
port.on("message", (message: ToWorker) => void session.receive(message));
