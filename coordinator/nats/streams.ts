import {
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
  ];
}

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
    if (found === undefined) {
      throw new NatsError("nats/missing", `the stream ${expected.name} is not there`, {
        hint: "Make it once, with an administrator's credentials: deltaworks nats init",
      });
    }
    const differences = Object.entries(expected).filter(
      ([key, value]) => !isEqual(found[key as keyof StreamConfig], value),
    );
    if (differences.length > 0) {
      const named = differences.map(
        ([key, value]) => `${key} is ${JSON.stringify(found[key as keyof StreamConfig])}, not ${JSON.stringify(value)}`,
      );
      throw new NatsError("nats/configured-otherwise", `the stream ${expected.name}: ${named.join("; ")}`, {
        hint: "Change it back with the nats command line, or use another --nats-prefix.",
      });
    }
  }
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

/** A server leaves out what is false, zero or empty. */
function isEqual(found: unknown, expected: unknown): boolean {
  const blank = (value: unknown) => value === undefined || value === false || value === 0;
  return JSON.stringify(found) === JSON.stringify(expected) || (blank(found) && blank(expected));
}
