import { type NatsSettings, natsOptions } from "../../app/index.ts";
import {
  checkAccess,
  checkStreams,
  connectNats,
  coordinatorPermissions,
  createStreams,
  type Nats,
  permissionsText,
  purgeJob,
  serverOf,
} from "../../coordinator/nats/index.ts";
import { openNatsQueue, QueueError } from "../../coordinator/queue/index.ts";
import { openStores } from "../../storage/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { reportError } from "../report-error.ts";

export interface NatsInitOptions extends NatsSettings {
  readonly replicas: number;
  readonly journalMax: number;
}

/** `deltaworks nats init`: streams and consumers, with an administrator's credentials. May be repeated. */
export async function natsInitCommand(_: readonly string[], options: NatsInitOptions, io: Io): Promise<number> {
  return withConnection(options, io, async (nats) => {
    const done = await createStreams(nats, { replicas: options.replicas, journalBytes: options.journalMax });
    await checkStreams(nats);
    for (const sentence of done.length === 0 ? ["everything was there"] : done) io.stdout(`${sentence}\n`);
    io.stdout(`\nWhat the coordinators' user needs, and no more:\n\n`);
    io.stdout(permissionsText(coordinatorPermissions(nats.names)));
  });
}

/** `deltaworks nats check`: whether a coordinator with these options would find all it needs. Changes nothing. */
export async function natsCheckCommand(_: readonly string[], options: NatsSettings, io: Io): Promise<number> {
  return withConnection(options, io, async (nats) => {
    await checkStreams(nats);
    await checkAccess(nats);
    io.stdout(
      `ok  ${serverOf(nats.connection)}, nats-server ${nats.serverVersion}: streams and permissions are as needed\n`,
    );
  });
}

/** `deltaworks nats purge NAME...`: takes jobs that have ended out of the journal and the list. */
export async function natsPurgeCommand(names: readonly string[], options: NatsSettings, io: Io): Promise<number> {
  return withConnection(options, io, async (nats) => {
    const queue = openNatsQueue(nats);
    for (const name of names) {
      const job = await queue.find(name);
      if (job?.state !== "ended") {
        const what = job === undefined ? `there is no job ${name}` : `the job ${name} has not ended`;
        throw new QueueError("queue/unknown-job", what, { hint: "Only jobs that have ended can be purged." });
      }
      const messages = await purgeJob(nats, job.id);
      await queue.forget(name);
      io.stdout(`purged ${name}: ${messages} messages\n`);
    }
  });
}

async function withConnection(options: NatsSettings, io: Io, act: (nats: Nats) => Promise<void>): Promise<number> {
  try {
    const nats = await connectNats(openStores(), await natsOptions(options, "deltaworks nats"));
    try {
      for (const warning of nats.warnings) io.stderr(`warning  ${warning}\n`);
      await act(nats);
      return exitCodes.done;
    } finally {
      await nats.close();
    }
  } catch (error) {
    return reportError(io, error);
  }
}
