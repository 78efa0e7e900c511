import { parentPort } from "node:worker_threads";
import { openStores, type Place } from "../../storage/index.ts";
import {
  endThread,
  isInputPath,
  type JobToBegin,
  type SessionStore,
  type ThreadMeans,
  type ToWorker,
  WorkerSession,
} from "../index.ts";
import type { OpenedRemoteInputs, OpenedSignedReads } from "../transfer/index.ts";

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

async function signedReads(job: JobToBegin, means: ThreadMeans): Promise<OpenedSignedReads> {
  const { openSignedReads } = await import("../transfer/index.ts");
  return openSignedReads(openStores(), job, means);
}

function storeFor(job: JobToBegin, means: ThreadMeans): SessionStore {
  const { asynchronous, ...connections } = means;
  const files = openStores({ blocking: !asynchronous, ...connections });
  const inputs = job.remoteInputs === undefined ? undefined : remoteInputs(job);
  const signed = job.signedReads === undefined ? undefined : signedReads(job, means);
  const isSigned = new Set([
    ...(job.signedReads?.inputs.map(({ place }) => place) ?? []),
    ...(job.signedReads?.shards ?? []),
  ]);
  const others = [inputs, signed].flatMap((other) => (other === undefined ? [] : [other]));
  if (others.length === 0) return files;
  for (const other of others) other.catch(() => undefined); // the first read says what is wrong
  const storeOf = async (place: Place) =>
    (isSigned.has(place) ? await signed : isInputPath(place) ? await inputs : undefined) ?? files;
  return {
    open: async (place) => (await storeOf(place)).open(place),
    openForWriting: (place, options) => files.openForWriting(place, options),
    putPart: (...part) => files.putPart(...part),
    close: () => {
      for (const other of others)
        other.then(
          (opened) => opened.close(),
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
