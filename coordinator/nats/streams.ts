import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import { ask } from "./ask.ts";
import type { Nats } from "./connect.ts";
import { NatsError } from "./errors.ts";
import type { NatsNames } from "./names.ts";
import { isAtLeast, serverFeatures } from "./server-features.ts";

export interface StreamSizes {
  /** 1, or 3 in a cluster: then one server may be lost without a word lost. */
  readonly replicas: number;
  /** The journal refuses more than this, rather than forget what is old. */
  readonly journalBytes: number;
}

export const defaultSizes: StreamSizes = { replicas: 1, journalBytes: 4 * 2 ** 30 };

type OwnConfig = Partial<StreamConfig> & { readonly name: string };

/** The settings of our streams that we count on. */
function streamConfigs(names: NatsNames, sizes: StreamSizes): readonly OwnConfig[] {
  const common = {
    storage: StorageType.File,
    num_replicas: sizes.replicas,
    // Full means: no more. The other policy would drop the oldest facts without a word.
    discard: DiscardPolicy.New,
    max_age: 0,
    max_msgs: -1,
  };
  return [
    {
      ...common,
      name: names.journalStream,
      description: "deltaworks: the facts of every job",
      subjects: [`${names.prefix}.j.>`, `${names.prefix}.b.>`],
      retention: RetentionPolicy.Limits,
      max_bytes: sizes.journalBytes,
      // Facts are never taken back one by one. An administrator may purge a whole job that has ended.
      deny_delete: true,
      // Message ids are no fence (they expire) and are not used; a long window would only cost memory.
      duplicate_window: nanos(120_000),
    },
    {
      ...common,
      name: names.jobsStream,
      description: "deltaworks: a token per job that is not ended; who holds it runs the job",
      subjects: [`${names.prefix}.q.*.*`],
      retention: RetentionPolicy.Workqueue,
      max_bytes: SMALL_STREAM_BYTES,
    },
    {
      ...common,
      name: names.recordsStream,
      description: "deltaworks: what is known of each job",
      subjects: [`${names.prefix}.r.*`],
      retention: RetentionPolicy.Limits,
      max_bytes: SMALL_STREAM_BYTES,
      max_msgs_per_subject: 1,
    },
  ];
}

/** Tokens and records of more jobs than anybody has. */
const SMALL_STREAM_BYTES = 256 * 2 ** 20;

/** A token that nobody vouches for during this time goes to somebody else. */
export const ACK_WAIT_MS = 30_000;

/** One consumer a priority: they share the work-queue stream without overlap, as it demands. */
export function priorityConsumer(priority: number): string {
  return `priority-${priority}`;
}

function consumerConfigs(names: NatsNames, sizes: StreamSizes): readonly OwnConsumer[] {
  return Array.from({ length: PRIORITIES }, (_, priority) => ({
    durable_name: priorityConsumer(priority),
    filter_subject: `${names.prefix}.q.${priority}.*`,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(ACK_WAIT_MS),
    deliver_policy: DeliverPolicy.All,
    // A token is worth something until its job has ended: nothing may stay behind unseen.
    max_deliver: -1,
    max_ack_pending: 10_000,
    num_replicas: sizes.replicas,
  }));
}

/** 0 to 4; the queue's room checks what is submitted. */
export const PRIORITIES = 5;

type OwnConsumer = Partial<ConsumerConfig> & { readonly durable_name: string };

/**
 * Makes what is not there, and switches on what the server has learnt since. Other settings of a stream that is there are
 * left alone. Returns what was done, in sentences.
 */
export async function createStreams(nats: Nats, sizes: StreamSizes): Promise<string[]> {
  const { manager, names, serverVersion } = nats;
  const done: string[] = [];
  // Many entries, one sync: see journal/nats-appends.ts. Nothing else depends on it.
  const batches = isAtLeast(serverVersion, serverFeatures.atomicBatch);
  for (const own of streamConfigs(names, sizes)) {
    const config = own.name === names.journalStream && batches ? { ...own, allow_atomic: true } : own;
    const found = await maybeConfig(nats, config.name);
    if (found === undefined) {
      await ask(nats, `make the stream ${config.name}`, () => manager.streams.add(config));
      done.push(`made the stream ${config.name}`);
    } else if (config.allow_atomic === true && found.allow_atomic !== true) {
      const allowed = { ...found, allow_atomic: true };
      await ask(nats, `change the stream ${config.name}`, () => manager.streams.update(config.name, allowed));
      done.push(`allowed batches in the stream ${config.name}`);
    }
  }
  for (const config of consumerConfigs(names, sizes)) {
    const { durable_name: consumer } = config;
    if ((await maybeConsumer(nats, consumer)) !== undefined) continue;
    await ask(nats, `make the consumer ${consumer}`, () => manager.consumers.add(names.jobsStream, config));
    done.push(`made the consumer ${consumer} of ${names.jobsStream}`);
  }
  return done;
}

/**
 * Reads the streams' configurations back and compares what we count on: an old server passes over what it does not know,
 * and somebody may have changed a stream since. Sizes are the operator's and may differ.
 * @throws NatsError `nats/missing`, `nats/configured-otherwise`
 */
export async function checkStreams(nats: Nats): Promise<void> {
  const { names } = nats;
  for (const { description: _, num_replicas: __, max_bytes: ___, ...expected } of streamConfigs(names, defaultSizes)) {
    const found = await maybeConfig(nats, expected.name);
    if (found === undefined) throw missing(`the stream ${expected.name}`);
    checkEqual(`the stream ${expected.name}`, expected, found);
  }
  for (const { num_replicas: _, ...expected } of consumerConfigs(names, defaultSizes)) {
    const what = `the consumer ${expected.durable_name} of ${names.jobsStream}`;
    const found = await maybeConsumer(nats, expected.durable_name);
    if (found === undefined) throw missing(what);
    checkEqual(what, expected, found);
  }
}

function missing(what: string): NatsError {
  return new NatsError("nats/missing", `${what} is not there`, {
    hint: "Make it once, with an administrator's credentials: deltaworks nats init",
  });
}

function checkEqual(what: string, expected: object, found: object): void {
  const read = found as Readonly<Record<string, unknown>>;
  const differences = Object.entries(expected)
    .filter(([key, value]) => !isEqual(read[key], value))
    .map(([key, value]) => `${key} is ${JSON.stringify(read[key])}, not ${JSON.stringify(value)}`);
  if (differences.length === 0) return;
  throw new NatsError("nats/configured-otherwise", `${what}: ${differences.join("; ")}`, {
    hint: "Change it back with the nats command line, or use another --nats-prefix.",
  });
}

function maybeConfig(nats: Nats, stream: string): Promise<StreamConfig | undefined> {
  return ask(nats, `ask about the stream ${stream}`, async () => {
    try {
      return (await nats.manager.streams.info(stream)).config;
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) return undefined;
      throw error;
    }
  });
}

function maybeConsumer({ names, ...nats }: Nats, consumer: string): Promise<ConsumerConfig | undefined> {
  return ask(nats, `ask about the consumer ${consumer}`, async () => {
    try {
      return (await nats.manager.consumers.info(names.jobsStream, consumer)).config;
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.ConsumerNotFound) return undefined;
      throw error;
    }
  });
}

/** A server leaves out what is false, zero or empty. */
function isEqual(found: unknown, expected: unknown): boolean {
  const blank = (value: unknown) => value === undefined || value === false || value === 0;
  return JSON.stringify(found) === JSON.stringify(expected) || (blank(found) && blank(expected));
}
