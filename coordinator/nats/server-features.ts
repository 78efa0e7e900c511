import { NatsError } from "./errors.ts";

/**
 * What servers have since when. The client sends what an old server does not know, and the server passes it over
 * without a word: so it is asked here, and configurations are read back (streams.ts).
 */
export const serverFeatures = {
  /** Work-queue streams, pull consumers, expected last sequence of a subject, named ephemeral consumers. */
  required: "2.9.10",
  /** `sync_interval: always`: an acknowledged message is on the disk. Before, up to two minutes of them may not be. */
  syncAlways: "2.10.0",
  /** Batches that are stored whole or not at all; since 2.15 with one sync for all of a batch. */
  atomicBatch: "2.12.7",
  /** Security advisories up to 2026 are mended; what runs in earnest should be no older. */
  production: "2.12.7",
} as const;

/**
 * Returns what an operator should know about the server, in sentences.
 * @throws NatsError `nats/too-old`, `nats/no-jetstream`
 */
export function checkServer(version: string, jetstream: boolean, server: string): string[] {
  if (!isAtLeast(version, serverFeatures.required)) {
    const message = `${server} is nats-server ${version || "of unknown version"}, ${serverFeatures.required} is needed`;
    throw new NatsError("nats/too-old", message, {
      hint: `Upgrade it; ${serverFeatures.production} or later is advised.`,
    });
  }
  if (!jetstream) {
    throw new NatsError("nats/no-jetstream", `${server} runs without JetStream`, {
      hint: "Start it with -js, or with a jetstream block in its configuration; and let the account use it.",
    });
  }
  if (isAtLeast(version, serverFeatures.production)) return [];
  const older = `${server} is nats-server ${version}: it works, and has known security faults. ${serverFeatures.production} or later is advised.`;
  if (isAtLeast(version, serverFeatures.syncAlways)) return [older];
  return [older, "It cannot sync what it acknowledges: a power failure may take up to two minutes of the journal."];
}

/** Versions as servers say them: `2.9.25`, `2.12.0-RC.1`. A release candidate counts as before its release. */
export function isAtLeast(version: string, floor: string): boolean {
  const [own, least] = [partsOf(version), partsOf(floor)];
  if (own === undefined || least === undefined) return false;
  for (const [k, part] of least.entries()) {
    const mine = own[k] ?? 0;
    if (mine !== part) return mine > part;
  }
  return true;
}

function partsOf(version: string): number[] | undefined {
  const match = /^v?(\d+)\.(\d+)\.(\d+)(-.+)?$/.exec(version);
  if (match === null) return undefined;
  return [Number(match[1]), Number(match[2]), Number(match[3]), match[4] === undefined ? 0 : -1];
}
