import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { credentials as channel } from "@grpc/grpc-js";
import { pino } from "pino";
import { keepHeapSmall } from "../../app/index.ts";
import { lookAt, openNatsJournal } from "../../coordinator/journal/index.ts";
import {
  type Caller,
  coordinatorHandlers,
  ResultFetcher,
  RpcServer,
  type RpcService,
  WorkerHub,
} from "../../coordinator/link/index.ts";
import { checkStreams, connectNats, serverOf } from "../../coordinator/nats/index.ts";
import { openFileQueue, openNatsQueue } from "../../coordinator/queue/index.ts";
import type { SealRange, SealWork } from "../../merge/work/index.ts";
import { failureFrom } from "../../merge/work/index.ts";
import { hashRanges } from "../../output/index.ts";
import { SURVEY_ELEMENTS } from "../../plan/index.ts";
import { EnrollmentService, JobsService } from "../../proto/index.ts";
import { JobCoordinator, type JobJournals, jobsHandlers, parseRoot, Roots } from "../../service/index.ts";
import {
  type Files,
  freeBytes,
  join,
  linkless,
  openStores,
  type Place,
  placeOf,
  readWhole,
  type Source,
  wholePlace,
  writeWhole,
} from "../../storage/index.ts";
import {
  channelCredentials,
  checkRole,
  formatAddress,
  identityOfCall,
  parseAddress,
  type Role,
} from "../../trust/index.ts";
import { redact } from "../../trust/secrets/index.ts";
import { coordinatorDefinition, heartbeatFor } from "../../wire/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import type { NatsCommandOptions } from "../nats-options.ts";
import { openEnrollment } from "../open-enrollment.ts";
import { maybeNatsOptions } from "../open-nats.ts";
import { type Listened, notListening, openListen } from "../open-peer.ts";
import { reportError, reportFaults } from "../report-error.ts";
import { brokenRules, coordinatorRules } from "../settings.ts";
import type { TakeOverOptions } from "../take-over-option.ts";
import type { EnrollingOptions, TrustOptions } from "../trust-options.ts";
import { toolVersion } from "../version.ts";
import { SHARD_BYTES_DEFAULT, SLICE_BYTES_DEFAULT } from "./merge-options.ts";

export interface CoordinatorOptions extends TrustOptions, EnrollingOptions, NatsCommandOptions, TakeOverOptions {
  readonly listen: string;
  readonly state: string;
  readonly root: readonly string[];
  /** 0 to 1. */
  readonly audit: number;
  /** Milliseconds. */
  readonly lease: number;
  readonly ioTimeout: number;
  readonly grace: number;
  readonly jobs: number;
  readonly reflection: boolean;
  readonly json: boolean;
  readonly logLevel: string;
}

/** One is computed while the one before it becomes durable. */
const SLOTS_PER_THREAD = 2;
const COUNTER_BYTES_MAX = 64;
/** A coordinator that could not reach the journal for so long grants nothing; whoever takes over waits as long. */
const LEADERSHIP_MS = 10_000;
const CONNECTION_MS_MAX = 3_600_000;

/** The services describe themselves by what the build left beside them. */
const descriptors = new URL(
  import.meta.url.endsWith(".ts") ? "../../dist/proto/descriptors.binpb" : "../../proto/descriptors.binpb",
  import.meta.url,
);
const DESCRIPTORS_BYTES_MAX = 4 * 1024 * 1024;

/** `deltaworks coordinator` */
export async function coordinatorCommand(_: readonly string[], options: CoordinatorOptions, io: Io): Promise<number> {
  keepHeapSmall();
  const log = pino(
    {
      level: options.logLevel,
      redact,
      base: { host: hostname(), pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    { write: io.stderr },
  );
  const say = (event: string, facts: Readonly<Record<string, unknown>>, level: "info" | "warn" = "info") =>
    log[level](facts, event);
  const store = openStores({ takeOver: options.takeOver });
  const open: (() => unknown)[] = [];
  try {
    const faults = brokenRules(coordinatorRules, options);
    if (faults.length > 0) return reportFaults(io, faults, options.json);
    const state = wholePlace(placeOf(options.state));
    await store.makeDirectory(state);
    const lock = await store.lock(join(state, "lock"));
    open.push(() => lock.release());
    const startNumber = await countStart(store, join(state, "starts"));
    const name = { state: await stateName(store, join(state, "name")), start: startNumber };
    const roots = await Roots.open(
      store,
      options.root.map((text) => parseRoot(text, placeOf(process.cwd()))),
    );
    const listened = await openListen(store, options.listen, ["coordinator"], options, {
      onChange: ({ identity }) => say("certificates changed", { until: new Date(identity.notAfterMs).toISOString() }),
      onRejected: (error) => log.warn(failureFrom(error), "certificate files cannot be used; the old ones stay in use"),
    });
    open.push(() => listened.close());
    const clock = { nowMs: () => performance.now() };
    const fetcher = new ResultFetcher((_, name) =>
      listened.certificates === undefined
        ? { credentials: channel.createInsecure(), options: {} }
        : {
            credentials: channelCredentials(listened.certificates, { role: "worker", name }),
            options: { "grpc.ssl_target_name_override": "deltaworks" },
          },
    );
    open.push(() => fetcher.close());
    let coordinator: JobCoordinator | undefined;
    const heartbeatMs = heartbeatFor(options.lease);
    const hub = new WorkerHub({
      softwareVersion: toolVersion,
      startNumber,
      times: { leaseMs: options.lease, heartbeatMs, ioTimeoutMs: options.ioTimeout },
      store: linkless(store),
      clock,
      readBack: (work) => hashRanges(store, work.path, rangesOf(work)),
      fetch: (worker, job, intake, ref) => fetcher.fetch(worker, job, intake, ref),
      forgotten: (worker) => fetcher.forget(worker),
      changed: () => coordinator?.share(),
      log: say,
      defect: (error, where) => {
        log.fatal({ ...failureFrom(error), where }, "an invariant is broken: the process ends");
        process.exit(exitCodes.failed);
      },
    });
    const ticking = setInterval(() => hub.tick(), heartbeatMs);
    open.push(() => clearInterval(ticking));
    const shared = await openShared(store, options, say);
    if (shared !== undefined) open.push(() => shared.nats.close());
    const queue = shared?.queue ?? (await openFileQueue(store, join(state, "queue")));
    open.push(() => queue.close());
    const journals = shared?.journals;
    coordinator = new JobCoordinator({
      name,
      store,
      roots,
      hub,
      queue,
      toolVersion,
      clock,
      leaseMs: options.lease,
      ioTimeoutMs: options.ioTimeout,
      surveyElements: SURVEY_ELEMENTS,
      freeBytes,
      jobsMax: options.jobs,
      slotsPerThread: SLOTS_PER_THREAD,
      journals,
      log: say,
    });
    const identities = new Callers(listened);
    const services: RpcService[] = [
      {
        name: "deltaworks.v1.Coordinator",
        definition: coordinatorDefinition,
        handlers: coordinatorHandlers(hub, (call, claimed) => identities.worker(call, claimed)),
      },
      {
        name: "deltaworks.v1.Jobs",
        definition: JobsService,
        handlers: jobsHandlers({
          ...{ coordinator, hub, roots, store, journals },
          defaults: { sliceBytes: SLICE_BYTES_DEFAULT, shardBytes: SHARD_BYTES_DEFAULT, auditShare: options.audit },
          submitter: (call, action) => identities.submitter(call, action),
        }),
      },
    ];
    if (listened.certificates !== undefined) {
      const enrollment = await openEnrollment(store, options, {
        listenAddress: options.listen,
        certificates: listened.certificates,
        tokensPath: join(state, "tokens"),
        onEvent: (event) => say("enrollment", { ...event }),
      });
      if (enrollment !== undefined) {
        open.push(() => enrollment.close());
        services.push({
          name: "deltaworks.v1.Enrollment",
          definition: EnrollmentService,
          handlers: enrollment.service,
        });
        say("machines may join", { address: enrollment.joinAddress });
      }
    }
    const server = new RpcServer({
      // Workers renew with a third of the time left: by then their calls must come with the next certificate.
      connectionMs: Math.min(CONNECTION_MS_MAX, options.certificateTtl / 6),
      services,
      credentials: listened.credentials,
      descriptors: options.reflection
        ? await readWhole(store, placeOf(descriptors.pathname), DESCRIPTORS_BYTES_MAX)
        : undefined,
    });
    const port = await server.listen(options.listen).catch((error: unknown) => {
      throw notListening("--listen", options.listen, error);
    });
    const address = formatAddress({ host: parseAddress(options.listen).host, port });
    if (options.json) io.stdout(`${JSON.stringify({ event: "listening", address })}\n`);
    else io.stdout(`listening  ${address}\n`);
    say("coordinator began", { address, version: toolVersion, start: startNumber, roots: roots.names });
    coordinator.start();
    const signal = await stopSignal();
    say("coordinator is stopping", { signal });
    // Nobody should come any more; slices in flight become durable; workers go to whoever listens next.
    server.notServing();
    await coordinator.stop(options.grace);
    hub.stop();
    await server.shutdown(1000);
    say("coordinator ended", {});
    return exitCodes.done;
  } catch (error) {
    return reportError(io, error, options.json);
  } finally {
    for (const close of open.reverse()) await close();
  }
}

/** Queue and journals in JetStream, where a server is named: several coordinators may share them. */
async function openShared(
  store: Source,
  options: CoordinatorOptions,
  say: (event: string, facts: Readonly<Record<string, unknown>>) => void,
) {
  const where = maybeNatsOptions(options, `deltaworks coordinator ${hostname()}`);
  if (where === undefined) return undefined;
  const nats = await connectNats(store, where);
  try {
    await checkStreams(nats);
    for (const warning of nats.warnings) say("warning", { message: warning });
    say("NATS", { server: serverOf(nats.connection), version: nats.serverVersion });
    const journals: JobJournals = {
      leadershipMs: LEADERSHIP_MS,
      open: async (job) => {
        const journal = await openNatsJournal(nats, job);
        return Object.assign(journal, { tornBytes: 0 });
      },
      history: async function* (job, after) {
        const journal = lookAt(await openNatsJournal(nats, job));
        try {
          yield* journal.read(after);
        } finally {
          await journal.close();
        }
      },
    };
    return { nats, queue: openNatsQueue(nats, { log: say }), journals };
  } catch (error) {
    await nats.close();
    throw error;
  }
}

/** Who calls, by certificate; without TLS (loopback, or --insecure) everybody may do everything. */
class Callers {
  readonly #listened: Listened;

  constructor(listened: Listened) {
    this.#listened = listened;
  }

  worker(call: Caller, claimed: string): string {
    if (this.#listened.certificates === undefined) return claimed;
    return this.#identity(call, ["worker"], "work for this coordinator");
  }

  submitter(call: Caller, action: string): string {
    if (this.#listened.certificates === undefined) return "";
    return this.#identity(call, ["submitter", "admin"], action);
  }

  #identity(call: Caller, roles: readonly Role[], action: string): string {
    const identity = identityOfCall(call as Parameters<typeof identityOfCall>[0], Date.now());
    checkRole(identity, roles, action);
    return identity.name;
  }
}

/** How often a coordinator has begun with this state, this time included. */
async function countStart(store: Files, path: Place): Promise<number> {
  const there = (await store.identity(path)) !== undefined;
  const before = there ? Number(Buffer.from(await readWhole(store, path, COUNTER_BYTES_MAX)).toString()) : 0;
  const now = (Number.isSafeInteger(before) ? before : 0) + 1;
  await writeWhole(store, path, Buffer.from(String(now)));
  return now;
}

/** Unlike that of any other state; made once. */
async function stateName(store: Files, path: Place): Promise<string> {
  const there = (await store.identity(path)) !== undefined;
  const found = there ? Buffer.from(await readWhole(store, path, COUNTER_BYTES_MAX)).toString() : "";
  if (/^[0-9a-f]{16}$/.test(found)) return found;
  const made = randomBytes(8).toString("hex");
  await writeWhole(store, path, Buffer.from(made));
  return made;
}

function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        // A second one ends the process as it is, which loses nothing but slices in flight.
        if (asked) process.exit(signal === "SIGINT" ? exitCodes.interrupted : exitCodes.terminated);
        asked = true;
        resolve(signal);
      });
    }
  });
}

/** What a part of the seal reads back. */
function rangesOf(work: SealWork): readonly SealRange[] {
  return work.kind === "seal-slices" ? work.ranges : [{ offsetBytes: 0, sizeBytes: work.sizeBytes }];
}
