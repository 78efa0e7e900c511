import type { Place, Readable, Source } from "../../storage/index.ts";
import type { JobToBegin } from "../index.ts";
import { openConnection } from "./connection.ts";
import { InputStore } from "./input-store.ts";
import { readInput } from "./read-input.ts";
import { Redialed } from "./redialed.ts";

export interface OpenedRemoteInputs {
  open(place: Place): Promise<Readable>;
  close(): void;
}

/** The inputs of a job over a connection of their own. `store`: where the certificates are. */
export async function openRemoteInputs(
  store: Source,
  { job, description, remoteInputs }: JobToBegin,
): Promise<OpenedRemoteInputs> {
  if (remoteInputs === undefined) throw new Error(`the inputs of job ${job} are on this machine`);
  const { connection, cacheBytes } = remoteInputs;
  const redialed = new Redialed(() => openConnection(store, connection), connection.address);
  const inputs = new InputStore(description, cacheBytes, (range) => readInput(redialed, job, range));
  return { open: (place) => inputs.open(place), close: () => redialed.close() };
}
