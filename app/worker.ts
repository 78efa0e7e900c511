import { randomUUID } from "node:crypto";
import { hostname, networkInterfaces } from "node:os";
import { chooseEngines } from "../merge/engines/index.ts";
import type { Failure } from "../merge/work/index.ts";
import { checkOptions } from "../options/index.ts";
import { openStores, type Source } from "../storage/index.ts";
import {
  checkListenAddress,
  formatAddress,
  loadCredentials,
  parseAddress,
  parseName,
  sha256Of,
  type TrustFiles,
} from "../trust/index.ts";
import { toolVersion } from "../version/index.ts";
import { PROTOCOL_VERSION } from "../wire/index.ts";
import {
  checkMountedRoots,
  checkPlaces,
  MountedRoots,
  parseMountedPlace,
  parseMountedRoot,
  RemoteWorker,
  type WorkerLog,
} from "../worker/link/index.ts";
import { serveResults } from "../worker/transfer/index.ts";
import { engineText, engineThreads } from "./engine-threads.ts";
import { openJoinedTrust } from "./joined-trust.ts";
import { notListening, trustFiles } from "./open-peer.ts";
import { workerResourcesFor } from "./resources.ts";
import { checkRules, workerRules } from "./setting-rules.ts";
import type { WorkerSettings } from "./settings.ts";

/** What a worker tells whoever started it. */
export interface WorkerPorts {
  readonly log: WorkerLog;
  /** It cannot go on as it is: a call hangs that may change what others write by now, or an invariant is broken. */
  fatal(failure: Failure): void;
}

export interface RunningWorker {
  /** Resolves once it has drained. @throws WorkerError where it is refused for good */
  readonly ended: Promise<void>;
  /** What has not begun goes back; what has been is finished. */
  drain(): void;
}

/**
 * Attaches to a coordinator, also to one that is not there yet.
 * @throws OptionError; FailuresError for settings that exclude each other; the errors of what it opens. Nothing is open then
 */
export async function startWorker(settings: WorkerSettings, ports: WorkerPorts): Promise<RunningWorker> {
  checkOptions("worker", settings);
  checkRules(workerRules, settings);
  const chosen = await chooseEngines(settings.engine);
  const { log } = ports;
  const closing: (() => void)[] = [];
  const close = () => {
    for (const one of closing) one();
  };
  try {
    const { bandwidthBytes } = settings;
    const sending = bandwidthBytes === undefined ? {} : { bandwidthBytes };
    const store = openStores(sending);
    const joined = await openJoinedTrust(
      store,
      settings.coordinator,
      settings,
      wishedName(settings),
      (fields, message) => log("info", message, fields),
    );
    closing.push(() => joined?.close());
    const trust = joined?.files ?? trustFiles(settings);
    checkListenAddress(settings.coordinator, { tls: trust !== undefined, insecure: settings.insecure }, "connect to");
    const roots = [...settings.root.map(parseMountedRoot), ...settings.place.map(parseMountedPlace)];
    checkMountedRoots(roots);
    await checkPlaces(store, roots);
    const name = await ownName(store, settings, trust);
    const resources = workerResourcesFor(settings);
    const engines = engineThreads(chosen, resources.threads, resources.engineMaximumBytes);
    const kernelId = chosen.map((engine) => engine.kernelId).join("+");
    let worker: RemoteWorker | undefined;
    const listening =
      settings.listen === undefined
        ? undefined
        : await listen(store, settings.listen, settings.insecure, trust, (id) => worker?.resultOf(id));
    closing.push(() => listening?.close());
    worker = new RemoteWorker({
      connection: { address: settings.coordinator, workerName: name, ...(trust === undefined ? {} : { trust }) },
      hello: {
        protocolVersion: PROTOCOL_VERSION,
        softwareVersion: toolVersion,
        workerName: name,
        engine: engineText(chosen),
        kernelId: sha256Of(kernelId),
        threads: engines.reduce((sum, { arenas }) => sum + arenas, 0),
        memoryBytes: BigInt(resources.memoryBytes),
        roots: roots.map((root) => ({ name: root.name, writable: root.writable })),
        listenAddress: listening?.address ?? "",
        takesSigned: !settings.throughCoordinator,
        incarnation: randomUUID(),
        host: hostname(),
      },
      pool: {
        engines,
        budget: resources.budget,
        resultBytes: resources.resultBytes,
      },
      inputCacheBytes: resources.inputCacheBytes,
      store,
      far: store,
      sending,
      roots: new MountedRoots(store, roots),
      log,
      fatal: (failure) => ports.fatal(failure),
    });
    log("info", "worker starts", {
      name,
      threads: engines.length,
      memoryBytes: resources.memoryBytes,
      kernels: kernelId,
    });
    const running = worker;
    const ended = running.run().finally(close);
    return { ended, drain: () => running.drain(settings.grace) };
  } catch (error) {
    close();
    throw error;
  }
}

/** Of the host, where none is given. */
function wishedName({ name }: WorkerSettings): string {
  return parseName(
    name ??
      hostname()
        .toLowerCase()
        .replaceAll(/[^a-z0-9._-]/g, "-"),
  );
}

/** With TLS the certificate says who this is; another name would be refused. */
async function ownName(store: Source, settings: WorkerSettings, trust: TrustFiles | undefined): Promise<string> {
  if (trust === undefined) return wishedName(settings);
  return (await loadCredentials(store, trust, Date.now())).identity.name;
}

async function listen(
  store: Source,
  address: string,
  insecure: boolean,
  trust: TrustFiles | undefined,
  resultOf: Parameters<typeof serveResults>[0]["resultOf"],
): Promise<{ readonly address: string; readonly close: () => void }> {
  checkListenAddress(address, { tls: trust !== undefined, insecure });
  const server = await serveResults({
    store,
    address,
    ...(trust === undefined ? {} : { trust }),
    resultOf,
  }).catch((error: unknown) => {
    throw notListening("--listen", address, error);
  });
  const { host } = parseAddress(address);
  return { address: formatAddress({ host: dialable(host), port: server.port }), close: server.close };
}

/** "All addresses" is nowhere to be dialed: the first one of this machine that others can see stands for it. */
function dialable(host: string): string {
  if (host !== "0.0.0.0" && host !== "::") return host;
  const outside = Object.values(networkInterfaces())
    .flat()
    .find((address) => address !== undefined && !address.internal && (host === "::" || address.family === "IPv4"));
  return outside?.address ?? hostname();
}
