import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { credentials as channel } from "@grpc/grpc-js";
import type { pino } from "pino";
import { jobsHandlers } from "../api/grpc/index.ts";
import { lookAt, openNatsJournal } from "../coordinator/journal/index.ts";
import {
  coordinatorHandlers,
  type PeerCall,
  ResultFetcher,
  RpcServer,
  type RpcService,
  WorkerHub,
} from "../coordinator/link/index.ts";
import { checkStreams, connectNats, serverOf } from "../coordinator/nats/index.ts";
import { openFileQueue, openNatsQueue } from "../coordinator/queue/index.ts";
import { failureFrom } from "../merge/work/index.ts";
import { checkOptions, coordinatorDefaults } from "../options/index.ts";
import { SURVEY_ELEMENTS } from "../plan/index.ts";
import { EnrollmentService, JobsService } from "../proto/index.ts";
import {
  type Caller,
  JobCoordinator,
  type JobJournals,
  JobService,
  PlanningThreads,
  parsePlace,
  parseRoot,
  Roots,
} from "../service/index.ts";
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
} from "../storage/index.ts";
import { channelCredentials, checkRole, formatAddress, identityOfCall, parseAddress } from "../trust/index.ts";
import { toolVersion } from "../version/index.ts";
import { coordinatorDefinition, heartbeatFor } from "../wire/index.ts";
import { openEnrollment } from "./open-enrollment.ts";
import { maybeNatsOptions } from "./open-nats.ts";
import { type Listened, notListening, openListen } from "./open-peer.ts";
import { checkRules, coordinatorRules } from "./setting-rules.ts";
import type { CoordinatorSettings } from "./settings.ts";

/** What a coordinator tells whoever started it. */
export interface CoordinatorPorts {
  readonly log: pino.Logger;
  /** An invariant is broken: state may be wrong, and the process must not go on. */
  defect(error: unknown, where: string): void;
}

export interface RunningCoordinator {
  /** Where it listens. */
  readonly address: string;
  /** Nobody is let in any more; slices in flight become durable; workers go to whoever listens next. */
  stop(): Promise<void>;
}

/** One is computed while the one before it becomes durable. */
const SLOTS_PER_THREAD = 2;
/** Recipes that are planned at once: one that takes long keeps nobody else's waiting. */
const PLANNING_THREADS = 2;
const COUNTER_BYTES_MAX = 64;
/** A coordinator that could not reach the journal for so long grants nothing; whoever takes over waits as long. */
const LEADERSHIP_MS = 10_000;
const CONNECTION_MS_MAX = 3_600_000;

/** The services describe themselves by what the build left beside them. */
const descriptors = new URL(
  import.meta.url.endsWith(".ts") ? "../dist/proto/descriptors.binpb" : "../proto/descriptors.binpb",
  import.meta.url,
);
const DESCRIPTORS_BYTES_MAX = 4 * 1024 * 1024;

/**
 * From its state, wherever an earlier run left it, until it is told to stop.
 * @throws OptionError; FailuresError for settings that exclude each other; the errors of what it opens. Nothing is open then
 */
export async function startCoordinator(
  settings: CoordinatorSettings,
  ports: CoordinatorPorts,
): Promise<RunningCoordinator> {
  checkOptions("coordinator", settings);
  checkRules(coordinatorRules, settings);
  const { log } = ports;
  const say = (event: string, facts: Readonly<Record<string, unknown>>, level: "info" | "warn" = "info") =>
    log[level](facts, event);
  const store = openStores({ takeOver: settings.takeOver });
  const open: (() => unknown)[] = [];
  const close = async () => {
    for (const one of open.reverse()) await one();
  };
  try {
    const state = wholePlace(placeOf(settings.state));
    await store.makeDirectory(state);
    const lock = await store.lock(join(state, "lock"));
    open.push(() => lock.release());
    const startNumber = await countStart(store, join(state, "starts"));
    const name = { state: await stateName(store, join(state, "name")), start: startNumber };
    const roots = await Roots.open(store, [
      ...settings.root.map((text) => parseRoot(text, placeOf(process.cwd()))),
      ...settings.place.map(parsePlace),
    ]);
    const listened = await openListen(store, settings.listen, ["coordinator"], settings, {
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
    const heartbeatMs = heartbeatFor(settings.lease);
    const hub = new WorkerHub({
      softwareVersion: toolVersion,
      startNumber,
      times: { leaseMs: settings.lease, heartbeatMs, ioTimeoutMs: settings.ioTimeout },
      store: linkless(store),
      clock,
      fetch: (worker, job, intake, ref) => fetcher.fetch(worker, job, intake, ref),
      forgotten: (worker) => fetcher.forget(worker),
      changed: () => coordinator?.share(),
      log: say,
      defect: (error, where) => {
        log.fatal({ ...failureFrom(error), where }, "an invariant is broken: the process ends");
        ports.defect(error, where);
      },
    });
    const ticking = setInterval(() => hub.tick(), heartbeatMs);
    open.push(() => clearInterval(ticking));
    const shared = await openShared(store, settings, say);
    if (shared !== undefined) open.push(() => shared.nats.close());
    const queue = shared?.queue ?? (await openFileQueue(store, join(state, "queue")));
    open.push(() => queue.close());
    const journals = shared?.journals;
    const planner = new PlanningThreads(
      { roots: roots.all },
      { timeMs: settings.planningTime, memoryBytes: settings.planningMemory, threads: PLANNING_THREADS },
    );
    open.push(() => planner.end());
    const far = { stores: store, journals: join(state, "journals"), takeOver: settings.takeOver };
    coordinator = new JobCoordinator({
      name,
      store,
      roots,
      hub,
      queue,
      toolVersion,
      clock,
      leaseMs: settings.lease,
      ioTimeoutMs: settings.ioTimeout,
      surveyElements: SURVEY_ELEMENTS,
      planner,
      far,
      freeBytes,
      jobsMax: settings.jobs,
      endedKeptMs: settings.keepEnded,
      slotsPerThread: SLOTS_PER_THREAD,
      journals,
      log: say,
    });
    const identities = new Callers(listened);
    const defaults = { auditShare: settings.auditShare };
    const jobs = new JobService({ coordinator, hub, roots, store, journals, far, defaults });
    const services: RpcService[] = [
      {
        name: "deltaworks.v1.Coordinator",
        definition: coordinatorDefinition,
        handlers: coordinatorHandlers(hub, (call, claimed) => identities.worker(call, claimed)),
      },
      {
        name: "deltaworks.v1.Jobs",
        definition: JobsService,
        handlers: jobsHandlers(jobs, (call) => identities.jobCaller(call)),
      },
    ];
    if (listened.certificates !== undefined) {
      const enrollment = await openEnrollment(store, settings, {
        listenAddress: settings.listen,
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
      connectionMs: Math.min(CONNECTION_MS_MAX, (settings.certificateTtl ?? coordinatorDefaults.certificateTtl) / 6),
      services,
      credentials: listened.credentials,
      descriptors: settings.reflection
        ? await readWhole(store, placeOf(descriptors.pathname), DESCRIPTORS_BYTES_MAX)
        : undefined,
    });
    const port = await server.listen(settings.listen).catch((error: unknown) => {
      throw notListening("--listen", settings.listen, error);
    });
    const address = formatAddress({ host: parseAddress(settings.listen).host, port });
    say("coordinator began", { address, version: toolVersion, start: startNumber, roots: roots.names });
    coordinator.start();
    const running = coordinator;
    return {
      address,
      stop: async () => {
        try {
          server.notServing();
          await running.stop(settings.grace);
          hub.stop();
          await server.shutdown(1000);
          say("coordinator ended", {});
        } finally {
          await close();
        }
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Queue and journals in JetStream, where a server is named: several coordinators may share them. */
async function openShared(
  store: Source,
  settings: CoordinatorSettings,
  say: (event: string, facts: Readonly<Record<string, unknown>>) => void,
) {
  const where = maybeNatsOptions(settings, `deltaworks coordinator ${hostname()}`);
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

  worker(call: PeerCall, claimed: string): string {
    if (this.#listened.certificates === undefined) return claimed;
    const identity = identityIn(call);
    checkRole(identity, ["worker"], "work for this coordinator");
    return identity.name;
  }

  jobCaller(call: Pick<PeerCall, "getAuthContext">): Caller {
    return this.#listened.certificates === undefined ? { role: "admin", name: "" } : identityIn(call);
  }
}

function identityIn(call: Pick<PeerCall, "getAuthContext">): Caller {
  return identityOfCall(call as Parameters<typeof identityOfCall>[0], Date.now());
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
