import { CoordinatorService, type SignReadRequest } from "../../proto/index.ts";
import { openSignedObjects, type Place, type Readable, type Source } from "../../storage/index.ts";
import type { JobToBegin, ThreadMeans } from "../index.ts";
import { openConnection } from "./connection.ts";
import { Redialed } from "./redialed.ts";
import { type BackoffOptions, persist } from "./retry.ts";
import { unary } from "./unary.ts";

/** An address is made without asking anybody. */
const DEADLINE_MS = 20_000;
const BACKOFF: BackoffOptions = { firstMs: 100, mostMs: 5_000 };
/** How long a coordinator may be away before the attempt is given up: leases have lapsed by then. */
const PATIENCE_MS = 120_000;

/** What of a job is read from its store by addresses that the coordinator signs, over a connection of its own. */
export interface OpenedSignedReads {
  open(place: Place): Promise<Readable>;
  close(): void;
}

/** `store`: where the certificates are. */
export async function openSignedReads(
  store: Source,
  { job, description, signedReads }: JobToBegin,
  { connectionsMax, bandwidthBytes }: ThreadMeans,
): Promise<OpenedSignedReads> {
  if (signedReads === undefined) throw new Error(`nothing is signed for job ${job}`);
  const { connection } = signedReads;
  const redialed = new Redialed(() => openConnection(store, connection), connection.address);
  const objects = await openSignedObjects({
    ...(connectionsMax === undefined ? {} : { connectionsMax }),
    ...(bandwidthBytes === undefined ? {} : { bandwidthBytes }),
  });
  const inputs = new Map(signedReads.inputs.map(({ place, ...value }) => [place, value]));
  const ask = (what: SignReadRequest["what"]) => () =>
    persist(
      async () => unary(await redialed.client(), CoordinatorService.signRead, { jobId: job, what }, DEADLINE_MS),
      {
        ...BACKOFF,
        untilMs: performance.now() + PATIENCE_MS,
      },
    );
  return {
    open: (place) => {
      const value = inputs.get(place);
      const known = value && description.inputs[value.input]?.files[value.file];
      if (value !== undefined && known !== undefined) return objects.open(place, ask({ $case: "input", value }), known);
      const shard = signedReads.shards.indexOf(place);
      if (shard < 0) throw new Error(`${place} is nothing that is signed for job ${job}`);
      return objects.open(place, ask({ $case: "shard", value: shard }));
    },
    close: () => {
      redialed.close();
      objects.close();
    },
  };
}
