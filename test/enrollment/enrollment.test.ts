/** Join, renewal and tokens over real connections: two ports, as a coordinator serves them. */
import { readFileSync, statSync } from "node:fs";
import { join as joinPath } from "node:path";
import { Server } from "@grpc/grpc-js";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import {
  createToken,
  type EnrollmentEvent,
  enrollmentService,
  join,
  joinedFiles,
  keepRenewed,
  nameFor,
  renew,
  renewalWaitMs,
} from "../../enrollment/index.ts";
import { EnrollmentService } from "../../proto/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import {
  type Authority,
  CertificateStore,
  channelCredentials,
  fingerprintOf,
  type Identity,
  joinCredentials,
  loadCredentials,
  renewAtMs,
  Secret,
  serverCredentials,
  TokenFile,
} from "../../trust/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { HOUR_MS, issueFor, makeAuthority, writeFiles } from "../trust/made-certificates.ts";

const store = new FileStore();
const host = "127.0.0.1";
let folder: string;
let authority: Authority;
let authoritySha256: string;
let tokens: TokenFile;
let events: EnrollmentEvent[];
/** Mutual TLS, and the join port. */
let main: { readonly host: string; readonly port: number };
let joining: { readonly host: string; readonly port: number };
let nowMs: () => number;

beforeEach(async () => {
  folder = temporaryFolder();
  authority = await makeAuthority();
  authoritySha256 = fingerprintOf(authority.certificate);
  tokens = await TokenFile.open(store, placeOf(joinPath(folder, "tokens.json")));
  events = [];
  nowMs = Date.now;
  const service = enrollmentService({ authority, tokens, now: () => nowMs(), onEvent: (event) => events.push(event) });
  const certificates = await storeFor({ role: "coordinator", name: "c" });
  main = { host, port: await serve(service, serverCredentials(certificates)) };
  joining = { host, port: await serve(service, serverCredentials(certificates, "none")) };
});

async function serve(service: ReturnType<typeof enrollmentService>, credentials: ReturnType<typeof serverCredentials>) {
  const server = new Server();
  server.addService(EnrollmentService, service);
  onTestFinished(() => server.forceShutdown());
  return new Promise<number>((resolve, reject) => {
    server.bindAsync(`${host}:0`, credentials, (error, port) => (error ? reject(error) : resolve(port)));
  });
}

async function storeFor(identity: Identity): Promise<CertificateStore> {
  return opened(writeFiles(temporaryFolder(), "own", authority, await issueFor(authority, identity)));
}

async function opened(files: Parameters<typeof CertificateStore.open>[1]): Promise<CertificateStore> {
  const certificates = await CertificateStore.open(store, files, { pollMs: HOUR_MS });
  onTestFinished(() => certificates.close());
  return certificates;
}

async function as(identity: Identity) {
  return channelCredentials(await storeFor(identity), { role: "coordinator", host });
}

const wish = { role: "worker", ttlMs: 600_000 } as const;

describe("a token", () => {
  test("is made by an admin, and turns into a certificate for a day", async () => {
    const made = await createToken(main, await as({ role: "admin", name: "anna" }), wish);
    expect(made.authoritySha256).toBe(authoritySha256);
    const files = joinedFiles(placeOf(folder));
    await join(store, files, { address: joining, name: "gpu-1", ...made });
    const { identity } = await loadCredentials(store, files, Date.now());
    expect(identity.role).toBe("worker");
    expect(identity.name).toMatch(/^gpu-1-[0-9a-f]{8}$/);
    expect(Math.round((identity.notAfterMs - Date.now()) / HOUR_MS)).toBe(24);
    expect(statSync(files.key).mode & 0o777).toBe(0o600);
    expect(readFileSync(files.authority, "utf8")).toBe(authority.certificate);
    expect(events.map(({ event }) => event)).toEqual(["token-created", "joined"]);
    // The certificate is good for the other port.
    const certificates = await opened(files);
    await renew(store, files, main, channelCredentials(certificates, { role: "coordinator", host }));
  });

  test("with a name gives that name", async () => {
    const made = await createToken(main, await as({ role: "admin", name: "anna" }), { ...wish, name: "rack-7" });
    await join(store, joinedFiles(placeOf(folder)), { address: joining, name: "gpu-1", ...made });
    expect((await loadCredentials(store, joinedFiles(placeOf(folder)), Date.now())).identity.name).toBe("rack-7");
  });

  test.each(["worker", "submitter", "coordinator"] as const)("is not made by a %s", async (role) => {
    await expect(createToken(main, await as({ role, name: "x" }), wish)).rejects.toMatchObject({
      code: "trust/role",
      message: `${role} x may not make join tokens`,
    });
    expect(tokenCount()).toBe(0);
  });

  test("is not made on the join port, by nobody and not by an admin", async () => {
    const calls = [joinCredentials(authority.certificate, host), await as({ role: "admin", name: "anna" })];
    for (const credentials of calls)
      await expect(createToken(joining, credentials, wish)).rejects.toMatchObject({ code: "trust/no-certificate" });
  });

  test("is not made for a coordinator, nor for longer than a week", async () => {
    const admin = await as({ role: "admin", name: "anna" });
    await expect(createToken(main, admin, { ...wish, role: "coordinator" })).rejects.toMatchObject({
      code: "trust/option",
    });
    await expect(createToken(main, admin, { ...wish, ttlMs: 8 * 86_400_000 })).rejects.toMatchObject({
      code: "trust/option",
    });
  });

  test("is good for one worker, until it expires", async () => {
    const token = await tokens.create(wish, Date.now());
    const options = { address: joining, authoritySha256, token, name: "gpu-1" };
    await join(store, joinedFiles(placeOf(folder)), options);
    await expect(join(store, joinedFiles(placeOf(folder)), options)).rejects.toMatchObject({
      code: "trust/token-used",
    });
    const late = await tokens.create(wish, Date.now());
    nowMs = () => Date.now() + wish.ttlMs;
    await expect(join(store, joinedFiles(placeOf(folder)), { ...options, token: late })).rejects.toMatchObject({
      code: "trust/token-expired",
    });
  });

  test("that is wrong gives nothing, and stands in no error and no event", async () => {
    const token = new Secret(`dw1.0123456789ab.${"CANARY".repeat(7)}C`);
    const failure = await join(store, joinedFiles(placeOf(folder)), {
      address: joining,
      authoritySha256,
      token,
      name: "gpu-1",
    }).catch((error) => error);
    expect(failure).toMatchObject({ code: "trust/token" });
    expect(events).toMatchObject([{ event: "refused", call: "Join", code: "trust/token" }]);
    expect(JSON.stringify([failure, failure.message, failure.stack, events])).not.toContain("CANARY");
  });

  test("is not sent to whom the fingerprint does not vouch for", async () => {
    const token = await tokens.create(wish, Date.now());
    const other = fingerprintOf((await makeAuthority()).certificate);
    const wrong = join(store, joinedFiles(placeOf(folder)), {
      address: joining,
      authoritySha256: other,
      token,
      name: "gpu-1",
    });
    await expect(wrong).rejects.toMatchObject({ code: "trust/fingerprint" });
    expect(events).toEqual([]);
  });

  test("is not used up by a name that cannot be", async () => {
    const token = await tokens.create(wish, Date.now());
    const options = { address: joining, authoritySha256, token };
    await expect(join(store, joinedFiles(placeOf(folder)), { ...options, name: "GPU 1" })).rejects.toMatchObject({
      code: "trust/option",
    });
    await join(store, joinedFiles(placeOf(folder)), { ...options, name: "gpu-1" });
  });

  function tokenCount(): number {
    try {
      return JSON.parse(readFileSync(joinPath(folder, "tokens.json"), "utf8")).tokens.length;
    } catch {
      return 0;
    }
  }
});

test("the name of whoever chose it is made unique by the key, and stays a name", () => {
  expect(nameFor("gpu-1", "3f9c02ab".repeat(8))).toBe("gpu-1-3f9c02ab");
  expect(nameFor("x".repeat(63), "3f9c02ab".repeat(8))).toBe(`${"x".repeat(54)}-3f9c02ab`);
});

describe("renewal", () => {
  test("gives the same role and name for a new key, and is taken into use", async () => {
    const token = await tokens.create(wish, Date.now());
    const files = joinedFiles(placeOf(folder));
    await join(store, files, { address: joining, authoritySha256, token, name: "gpu-1" });
    const certificates = await opened(files);
    const before = certificates.current;
    await renew(store, files, main, channelCredentials(certificates, { role: "coordinator", host }));
    expect(await certificates.reload()).toBe(true);
    expect(certificates.current.identity).toMatchObject({ role: "worker", name: before.identity.name });
    expect(certificates.current.key.reveal()).not.toBe(before.key.reveal());
    expect(statSync(files.key).mode & 0o777).toBe(0o600);
  });

  test("needs a certificate that is still good", async () => {
    const certificates = await storeFor({ role: "worker", name: "w1" });
    const credentials = channelCredentials(certificates, { role: "coordinator", host });
    await expect(renew(store, joinedFiles(placeOf(folder)), joining, credentials)).rejects.toMatchObject({
      code: "trust/no-certificate",
    });
    nowMs = () => Date.now() + 2 * HOUR_MS;
    await expect(renew(store, joinedFiles(placeOf(folder)), main, credentials)).rejects.toMatchObject({
      code: "trust/expired",
    });
  });

  test("comes after two thirds of a certificate's time, and the clock is looked at every ten minutes", () => {
    // Given at 0 for a day, and dated back by five minutes.
    const identity = { role: "worker", name: "w", notBeforeMs: -300_000, notAfterMs: 24 * HOUR_MS } as const;
    expect(renewAtMs(identity)).toBe(16 * HOUR_MS);
    expect(renewAtMs({ ...identity, notAfterMs: 30_000 })).toBe(20_000);
    expect(renewAtMs({ ...identity, notBeforeMs: 0, notAfterMs: 30_000 })).toBe(20_000);
    expect(renewalWaitMs(identity, HOUR_MS)).toBe(600_000);
    expect(renewalWaitMs(identity, 16 * HOUR_MS - 5)).toBe(5);
    expect(renewalWaitMs(identity, 16 * HOUR_MS)).toBe(0);
    expect(renewalWaitMs(identity, 30 * HOUR_MS)).toBe(0);
  });

  test("is kept up: what is due is renewed, what fails is told and tried again", async () => {
    const { vi } = await import("vitest");
    vi.useFakeTimers({ now: 0 });
    onTestFinished(() => void vi.useRealTimers());
    let identity = { role: "worker", name: "w", notBeforeMs: -300_000, notAfterMs: 3 * HOUR_MS } as const as ReturnType<
      Parameters<typeof keepRenewed>[0]["current"]
    >;
    const story: string[] = [];
    let works = false;
    const end = keepRenewed({
      current: () => identity,
      renew: async () => {
        story.push(`asked at ${Date.now() / 60_000} min`);
        if (!works) throw new Error("nobody there");
        identity = { ...identity, notBeforeMs: Date.now() - 300_000, notAfterMs: Date.now() + 3 * HOUR_MS };
      },
      onFailure: (error) => story.push(String(error)),
    });
    await vi.advanceTimersByTimeAsync(2 * HOUR_MS + 30_000);
    works = true;
    await vi.advanceTimersByTimeAsync(30_000);
    await vi.advanceTimersByTimeAsync(2 * HOUR_MS);
    end();
    await vi.advanceTimersByTimeAsync(9 * HOUR_MS);
    expect(story).toEqual([
      ...["asked at 120 min", "Error: nobody there", "asked at 120.5 min", "Error: nobody there"],
      ...["asked at 121 min", "asked at 241 min"],
    ]);
  });
});
