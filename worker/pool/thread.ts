import { parentPort } from "node:worker_threads";
import { openStores } from "../../storage/index.ts";
import {
  endThread,
  isInputPath,
  type JobToBegin,
  type SessionStore,
  type ThreadMeans,
  type ToWorker,
  WorkerSession,
} from "../index.ts";
import type { OpenedRemoteInputs } from "../transfer/index.ts";

/**
 * Entry of a worker thread: a session over the thread's port, with stores that block this thread alone; where the device computes by itself
 * with stores that do not, so that reading, hashing and writing go on beside each other.
 */
const port = parentPort;
if (port === null) throw new Error("worker/pool/thread.js runs as a worker thread only");

/** Loaded where needed only: merges on one machine do without gRPC. */
async function remoteInputs(job: JobToBegin): Promise<OpenedRemoteInputs> {
  const { openRemoteInputs } = await import("../transfer/index.ts");
  return openRemoteInputs(openStores(), job);
}

function storeFor(job: JobToBegin, { asynchronous, ...connections }: ThreadMeans): SessionStore {
  const files = openStores({ blocking: !asynchronous, ...connections });
  if (job.remoteInputs === undefined) return files;
  const inputs = remoteInputs(job);
  inputs.catch(() => undefined); // the first read says what is wrong
  return {
    open: async (place) => (isInputPath(place) ? await inputs : files).open(place),
    openForWriting: (place, options) => files.openForWriting(place, options),
    putPart: (...part) => files.putPart(...part),
    close: () => {
      inputs.then(
        (remote) => remote.close(),
        () => undefined,
      );
    },
  };
}

const session = new WorkerSession({
  storeFor,
  send: (message, transfer = []) => {
    port.postMessage(message, transfer);
    if (message.type === "ended") port.close();
  },
});
port.on("message", (message: ToWorker) => {
  session.receive(message).catch(endThread);
});
