/** Settings that exclude each other are refused before anything begins; those that are taken let every worker write. */
import { existsSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import fc from "fast-check";
import { pino } from "pino";
import { describe, expect, onTestFinished, test } from "vitest";
import { type CoordinatorSettings, startCoordinator, startWorker, type WorkerSettings } from "../../app/index.ts";
import { checkRules, coordinatorRules, workerRules } from "../../app/setting-rules.ts";
import { FailuresError, type UnitId } from "../../merge/work/index.ts";
import { formatDuration, maybeDuration } from "../../options/index.ts";
import { heartbeatFor, ioTimeoutMax, leaseMin } from "../../wire/index.ts";
import { initialLeases, mayBeginIo, reduceLeases } from "../../worker/lease/index.ts";
import { run } from "../e2e/cli-process.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const S = 1000;
const MIB = 2 ** 20;
const COORDINATOR: CoordinatorSettings = {
  ...{
    listen: "127.0.0.1:7410",
    state: "/s",
    root: [],
    place: [],
    auditShare: 0,
    lease: 30 * S,
    ioTimeout: 20 * S,
    grace: 20 * S,
  },
  ...{
    jobs: 4,
    reflection: false,
    insecure: false,
    planningTime: 60_000,
    planningMemory: 2 ** 30,
    keepEnded: 3_600_000,
  },
  natsPrefix: "deltaworks",
};
const WORKER: WorkerSettings = {
  ...{
    coordinator: "c:7410",
    root: [],
    place: [],
    throughCoordinator: false,
    grace: 20 * S,
    engine: "wasm",
    insecure: false,
  },
};
const TLS = { cert: "c.pem", key: "k.pem", ca: "ca.pem" };

/** What is wrong with settings. */
function faultsOf(check: () => void) {
  try {
    check();
    return [];
  } catch (error) {
    if (error instanceof FailuresError) return error.failures;
    throw error;
  }
}

const messages = (options: Partial<CoordinatorSettings>) =>
  faultsOf(() => checkRules(coordinatorRules, { ...COORDINATOR, ...options })).map(
    ({ message, hint }) => `${message}. ${hint}`,
  );

describe("a coordinator's settings", () => {
  test.each<[string, Partial<CoordinatorSettings>]>([
    ["the defaults", {}],
    ["a short lease with an I/O timeout that fits", { lease: 5 * S, ioTimeout: 2 * S }],
    ["the longest I/O timeout", { lease: 60 * S, ioTimeout: 40 * S }],
    ["an authority with certificates", { ...TLS, caKey: "ca-key.pem" }],
    ["short certificates", { ...TLS, caKey: "k", certificateTtl: 10 * S }],
    ["a port for joining", { ...TLS, caKey: "k", joinListen: "127.0.0.1:7411" }],
    ["ports that the system chooses", { ...TLS, caKey: "k", listen: "127.0.0.1:0", joinListen: "127.0.0.1:0" }],
    ["NATS with credentials", { nats: "nats://n:4222", natsCreds: "c" }],
    ["a prefix alone, which has a default", { natsPrefix: "x" }],
  ])("%s are taken", (_, options) => {
    expect(messages(options)).toEqual([]);
  });

  test.each<[string, Partial<CoordinatorSettings>, RegExp]>([
    [
      "the default I/O timeout with a short lease",
      { lease: 5 * S },
      /--io-timeout 20s .* --lease 5s.*3332ms or less.*--lease 30s/,
    ],
    ["equal ones", { lease: 20 * S, ioTimeout: 20 * S }, /two thirds/],
    ["one beyond the longest", { lease: 60 * S, ioTimeout: 40 * S + 1 }, /--io-timeout 40s or less/],
    ["a lease of no time", { lease: 200, ioTimeout: 100 }, /--lease 200ms is shorter than 1s/],
    ["a lease that no timer holds", { lease: 30 * 86_400 * S }, /--lease 30d is longer than 7d/],
    ["an I/O timeout of no time", { ioTimeout: 1 }, /--io-timeout 1ms is shorter than 100ms/],
    ["a grace that no timer holds", { grace: 8 * 86_400 * S }, /--grace 8d/],
    ["an authority without TLS", { caKey: "k" }, /--ca-key needs --cert, --key and --ca/],
    ["joining without an authority", { ...TLS, joinListen: "c:1" }, /--join-listen needs --ca-key/],
    [
      "joining where it listens",
      { ...TLS, caKey: "k", joinListen: "127.0.0.1:7410" },
      /is where the coordinator listens/,
    ],
    ["a life of certificates that nobody gets", { certificateTtl: 60 * S }, /--certificate-ttl needs --ca-key/],
    ["one of no time", { ...TLS, caKey: "k", certificateTtl: 1 }, /--certificate-ttl 1ms is shorter than 10s/],
    ["one beyond a century", { ...TLS, caKey: "k", certificateTtl: 40_000 * 86_400 * S }, /--certificate-ttl 40000d/],
    ["no port after its own", { ...TLS, caKey: "k", listen: "c:65535" }, /the last port/],
    ["credentials for no server", { natsCreds: "c", natsCa: "a" }, /--nats-creds and --nats-ca without --nats/],
  ])("%s are refused, with values that do", (_, options, said) => {
    expect(messages(options)).toEqual([expect.stringMatching(said)]);
  });

  test("all faults are said at once, and the process ends with 2 before it makes anything", async () => {
    const state = `${temporaryFolder()}/state`;
    const wrong = ["--lease", "5s", "--grace", "30d", "--state", state];
    const { code, stderr } = await run(["coordinator", ...wrong, "--listen", "127.0.0.1:0"]);
    expect(code).toBe(2);
    expect(stderr).toMatch(/--grace 30d.*\n.*\n.*--io-timeout 20s does not fit --lease 5s/);
    const { code: missing } = await run(["status", "x", "--coordinator", "127.0.0.1:9", "--json"]);
    expect(missing).toBe(1);
  });

  test("a port that another process has is no defect: said by its option, for a worker that listens too", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void taken.close());
    const address = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
    const commands = [
      ["coordinator", "--state", `${temporaryFolder()}/state`, "--listen", address],
      ["worker", "--coordinator", "127.0.0.1:9", "--listen", address],
    ];
    for (const command of commands) {
      const { code, stderr } = await run(command);
      expect(code).toBe(2);
      expect(stderr).toContain(`trust/option  cannot listen on ${address} (--listen)`);
    }
  });

  test("what a hint says is taken", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: S, max: 3600 * S }),
        fc.integer({ min: 100, max: 3600 * S }),
        (lease, ioTimeout) => {
          const most = ioTimeoutMax({ leaseMs: lease, heartbeatMs: heartbeatFor(lease) });
          expect(messages({ lease, ioTimeout: Math.max(100, most) })).toEqual([]);
          expect(messages({ lease: leaseMin(ioTimeout), ioTimeout })).toEqual([]);
          expect(messages({ lease, ioTimeout }).length).toBe(ioTimeout > most ? 1 : 0);
        },
      ),
    );
  });
});

describe("a worker's settings", () => {
  test.each<[Partial<WorkerSettings>, RegExp | undefined]>([
    [{}, undefined],
    [{ grace: 0 }, undefined],
    [{ threads: 1, memoryBytes: 160 * MIB }, undefined],
    [{ memoryBytes: MIB }, /--memory 1MiB does not fit --threads \d+ \(the default here\)/],
    [{ threads: 16, memoryBytes: 160 * MIB }, /--memory 160MiB does not fit --threads 16/],
    [{ grace: 8 * 86_400 * S }, /--grace 8d is longer than 7d/],
    [{ listen: "c:7410" }, /where the coordinator listens/],
    [{ join: "dw1.a.b" }, undefined],
    [{ join: "dw1.a.b", cert: "/c.pem", ca: "/ca.pem" }, /^--join with --cert and --ca: /],
    [{ identityDir: "/i", key: "/k.pem" }, /^--identity-dir with --key: /],
    [{ joinAddress: "c:7411" }, /^--join-address c:7411 without --join: /],
    [{ caSha256: "ab" }, undefined],
    [{ caSha256: "ab", joinAddress: "c:7411" }, undefined],
    [{ caSha256: "ab", cert: "/c.pem" }, /^--ca-sha256 with --cert: /],
    [{ identityDir: "/i", joinAddress: "c:7411", caSha256: "ab" }, undefined],
  ])("%j", (options, said) => {
    const found = faultsOf(() => checkRules(workerRules, { ...WORKER, ...options })).map(({ message }) => message);
    expect(found).toEqual(said === undefined ? [] : [expect.stringMatching(said)]);
  });
});

test("are looked at by what they start, before anything is made of them", async () => {
  const state = join(temporaryFolder(), "state");
  const silent = { log: pino({ level: "silent" }), defect: () => {} };
  const coordinator = (changes: object) => startCoordinator({ ...COORDINATOR, state, ...changes }, silent);
  await expect(coordinator({ lease: 5 * S })).rejects.toMatchObject({ code: "service/option" });
  await expect(coordinator({ auditShare: 2 })).rejects.toMatchObject({ code: "options/value" });
  expect(existsSync(state)).toBe(false);
  const worker = (changes: object) => startWorker({ ...WORKER, ...changes }, { log: () => {}, fatal: () => {} });
  await expect(worker({ memoryBytes: MIB })).rejects.toMatchObject({ code: "worker/option" });
  await expect(worker({ threads: 0 })).rejects.toMatchObject({ code: "options/value" });
  await expect(worker({ engine: "cuda" })).rejects.toMatchObject({ code: "engine/unavailable" });
});

test("durations are written as they are read", () => {
  for (const text of ["90s", "2h", "7d", "100ms", "40001ms", "1m"]) {
    expect(maybeDuration(formatDuration(maybeDuration(text) ?? 0))).toBe(maybeDuration(text));
  }
  expect([formatDuration(90 * S), formatDuration(120 * S), formatDuration(86_400 * S)]).toEqual(["90s", "2m", "1d"]);
});

test("with any settings that are taken, a granted slice may be written at every moment while heartbeats are answered", () => {
  const key = { job: "j", unit: "s" as UnitId, attempt: 1 };
  fc.assert(
    fc.property(
      fc.integer({ min: S, max: 600 * S }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 8, maxLength: 8 }),
      (leaseMs, share, delays) => {
        const heartbeatMs = heartbeatFor(leaseMs);
        const ioTimeoutMs = Math.max(1, Math.floor(share * ioTimeoutMax({ leaseMs, heartbeatMs })));
        const leases = initialLeases({ leaseMs, ioTimeoutMs, answerMs: 5000, laterMs: 500 });
        const on = (event: object, nowMs: number) => reduceLeases(leases, { ...event, nowMs } as never);
        on({ type: "link-restored", dropped: [] }, 0);
        on({ type: "assigned", key }, 0);
        on({ type: "computed", key, sha256: "x" }, 0);
        on({ type: "grant-answered", key, answer: "granted", askedMs: 0 }, 0);
        for (const [k, delay] of delays.entries()) {
          // Answered before the next one is sent.
          const sentMs = k * heartbeatMs;
          const answeredMs = sentMs + delay * heartbeatMs;
          on({ type: "time-passed" }, answeredMs);
          expect(mayBeginIo(leases, key, answeredMs)).toBe(true);
          on({ type: "heartbeat-answered", sentMs, renewed: [key], dropped: [] }, answeredMs);
        }
      },
    ),
  );
});
