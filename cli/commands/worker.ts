import { randomUUID } from "node:crypto";
import { hostname, networkInterfaces } from "node:os";
import { workerResourcesFor } from "../../app/index.ts";
import { createEngine } from "../../merge/engines/index.ts";
import { openStores, type Source } from "../../storage/index.ts";
import {
  checkListenAddress,
  formatAddress,
  loadCredentials,
  parseAddress,
  parseName,
  type TrustFiles,
} from "../../trust/index.ts";
import { PROTOCOL_VERSION } from "../../wire/index.ts";
import type { EngineChoice } from "../../worker/index.ts";
import { checkMountedRoots, MountedRoots, parseMountedRoot, RemoteWorker, sha256Of } from "../../worker/link/index.ts";
import { serveResults } from "../../worker/transfer/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { openJoinedTrust } from "../joined-trust.ts";
import { notListening, trustFiles } from "../open-peer.ts";
import { printFailure, reportError, reportFaults } from "../report-error.ts";
import { brokenRules, workerRules } from "../settings.ts";
import type { JoiningOptions, TrustOptions } from "../trust-options.ts";
import { toolVersion } from "../version.ts";
import { openWorkerLog } from "../worker-log.ts";

export interface WorkerOptions extends TrustOptions, JoiningOptions {
  readonly coordinator: string;
  readonly name?: string;
  readonly root: readonly string[];
  readonly threads?: number;
  readonly memory?: number;
  /** Milliseconds. */
  readonly grace: number;
  readonly listen?: string;
  readonly engine: EngineChoice["name"];
  readonly json: boolean;
  readonly logLevel: string;
}

/** `deltaworks worker --coordinator HOST:PORT` */
export async function workerCommand(_: readonly string[], options: WorkerOptions, io: Io): Promise<number> {
  const { log, write } = openWorkerLog(io, options);
  const closing: (() => void)[] = [];
  try {
    const faults = brokenRules(workerRules, options);
    if (faults.length > 0) return reportFaults(io, faults, options.json);
    const store = openStores();
    const joined = await openJoinedTrust(store, options.coordinator, options, wishedName(options), (fields, message) =>
      log.info(fields, message),
    );
    closing.push(() => joined?.close());
    const trust = joined?.files ?? trustFiles(options);
    checkListenAddress(options.coordinator, { tls: trust !== undefined, insecure: options.insecure }, "connect to");
    const roots = options.root.map(parseMountedRoot);
    checkMountedRoots(roots);
    const name = await ownName(store, options, trust);
    const resources = workerResourcesFor({ threads: options.threads, memoryBytes: options.memory });
    const engine = { name: options.engine, maximumBytes: resources.engineMaximumBytes };
    const { kernelId } = await createEngine(engine.name, { maximumBytes: engine.maximumBytes });
    let worker: RemoteWorker | undefined;
    const listening =
      options.listen === undefined
        ? undefined
        : await listen(options.listen, options.insecure, trust, (id) => worker?.resultOf(id));
    closing.push(() => listening?.close());
    worker = new RemoteWorker({
      connection: { address: options.coordinator, workerName: name, ...(trust === undefined ? {} : { trust }) },
      hello: {
        protocolVersion: PROTOCOL_VERSION,
        softwareVersion: toolVersion,
        workerName: name,
        engine: engine.name,
        kernelId: sha256Of(kernelId),
        threads: resources.threads,
        memoryBytes: BigInt(resources.memoryBytes),
        roots: roots.map((root) => ({ name: root.name, writable: root.writable })),
        listenAddress: listening?.address ?? "",
        incarnation: randomUUID(),
        host: hostname(),
      },
      pool: {
        threads: resources.threads,
        budget: resources.budget,
        engine,
        resultBytes: resources.resultBytes,
      },
      inputCacheBytes: resources.inputCacheBytes,
      store,
      roots: new MountedRoots(store, roots),
      log: write,
      fatal: (failure) => {
        printFailure(io, failure, options.json);
        process.exit(exitCodes.failed);
      },
    });
    const signals = listenForSignals(io, options.grace, (graceMs) => worker?.drain(graceMs));
    log.info(
      { name, threads: resources.threads, memoryBytes: resources.memoryBytes, kernels: kernelId },
      "worker starts",
    );
    try {
      await worker.run();
    } finally {
      signals.close();
    }
    log.info("worker ends");
    return exitCodes.done;
  } catch (error) {
    return reportError(io, error, options.json);
  } finally {
    for (const close of closing) close();
  }
}

/** Of the host, where none is given. */
function wishedName({ name }: WorkerOptions): string {
  return parseName(
    name ??
      hostname()
        .toLowerCase()
        .replaceAll(/[^a-z0-9._-]/g, "-"),
  );
}

/** With TLS the certificate says who this is; another name would be refused. */
async function ownName(store: Source, options: WorkerOptions, trust: TrustFiles | undefined): Promise<string> {
  if (trust === undefined) return wishedName(options);
  return (await loadCredentials(store, trust, Date.now())).identity.name;
}

async function listen(
  address: string,
  insecure: boolean,
  trust: TrustFiles | undefined,
  resultOf: Parameters<typeof serveResults>[0]["resultOf"],
): Promise<{ readonly address: string; readonly close: () => void }> {
  checkListenAddress(address, { tls: trust !== undefined, insecure });
  const server = await serveResults({
    store: openStores(),
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

/** The first signal drains, the second ends the process as it is: the coordinator's leases see to the rest. */
function listenForSignals(io: Io, graceMs: number, drain: (graceMs: number) => void): { close(): void } {
  const handlers = (["SIGINT", "SIGTERM"] as const).map((signal) => {
    let asked = false;
    const handler = () => {
      if (asked) process.exit(signal === "SIGINT" ? exitCodes.interrupted : exitCodes.terminated);
      asked = true;
      io.stderr("draining  what has not begun goes back, the rest is finished; once more to end at once\n");
      drain(graceMs);
    };
    process.on(signal, handler);
    return [signal, handler] as const;
  });
  return {
    close: () => {
      for (const [signal, handler] of handlers) process.off(signal, handler);
    },
  };
}
