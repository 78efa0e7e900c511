import type { Nats } from "./connect.ts";
import type { Outage } from "./outage.ts";

/** Replicas of which one may fail without anything acknowledged being lost. */
const REPLICAS = 3;

/**
 * Names what keeps the journals, for as long as it has forgotten nothing that it acknowledged: replicas, or this run of the one server. A
 * server that was started again may have lost its newest entries, and has another name. Undefined: who keeps them cannot be told.
 */
export async function journalKeeper({ manager, names, connection }: Nats, outage: Outage): Promise<string | undefined> {
  for (;;) {
    try {
      const { config, created, cluster } = await manager.streams.info(names.journalStream);
      if (config.num_replicas >= REPLICAS) return `${config.num_replicas} replicas since ${created}`;
      const { server_id: run, server_name: name } = connection.info ?? {};
      const isHere = cluster?.leader === undefined || cluster.leader === name;
      return isHere && run !== undefined ? `server ${run}` : undefined;
    } catch (error) {
      await outage.passing(error);
    }
  }
}
