/** A worker without a certificate, and a coordinator that gives it one, as the two commands open them. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Server } from "@grpc/grpc-js";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { openJoinedTrust } from "../../app/joined-trust.ts";
import { type Enrollment, openEnrollment } from "../../app/open-enrollment.ts";
import type { EnrollmentEvent } from "../../enrollment/index.ts";
import { EnrollmentService } from "../../proto/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import {
  type Authority,
  CertificateStore,
  fingerprintOf,
  loadCredentials,
  serverCredentials,
  TokenFile,
} from "../../trust/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { HOUR_MS, issueFor, makeAuthority, writeFiles } from "../trust/made-certificates.ts";

const store = new FileStore();
let folder: string;
let authority: Authority;
let caSha256: string;
let coordinator: string;
let enrollment: Enrollment;
let events: EnrollmentEvent[];
let identityDir: string;

beforeEach(async () => {
  folder = temporaryFolder();
  identityDir = join(folder, "identity");
  authority = await makeAuthority();
  caSha256 = fingerprintOf(authority.certificate);
  events = [];
  await startCoordinator({ certificateTtl: 24 * HOUR_MS });
});

async function startCoordinator({
  certificateTtl = 24 * HOUR_MS,
  joinListen,
}: {
  readonly certificateTtl?: number;
  readonly joinListen?: string;
}): Promise<void> {
  const files = writeFiles(folder, "c", authority, await issueFor(authority, { role: "coordinator", name: "c" }));
  writeFileSync(join(folder, "ca-key.pem"), authority.key.reveal());
  const certificates = await CertificateStore.open(store, files, { pollMs: HOUR_MS });
  const opened = await openEnrollment(
    store,
    { caKey: join(folder, "ca-key.pem"), certificateTtl, ...(joinListen === undefined ? {} : { joinListen }) },
    {
      listenAddress: "127.0.0.1:0",
      certificates,
      tokensPath: placeOf(join(folder, "tokens.json")),
      onEvent: (event) => events.push(event),
    },
  );
  if (opened === undefined) throw new Error("a coordinator with the key gives no certificates");
  enrollment = opened;
  const server = new Server();
  server.addService(EnrollmentService, enrollment.service);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", serverCredentials(certificates), (error, port) =>
      error ? reject(error) : resolve(port),
    ),
  );
  coordinator = `127.0.0.1:${port}`;
  onTestFinished(() => {
    enrollment.close();
    server.forceShutdown();
    certificates.close();
  });
}

async function newToken(): Promise<string> {
  const tokens = await TokenFile.open(store, placeOf(join(folder, "tokens.json")));
  return (await tokens.create({ role: "worker", ttlMs: 600_000 }, Date.now())).reveal();
}

/** A book is read once, so tokens are made before the coordinator opens it. */
async function withToken(
  options: { readonly certificateTtl: number } = { certificateTtl: 24 * HOUR_MS },
): Promise<string> {
  const token = await newToken();
  await startCoordinator(options);
  return token;
}

async function joined(
  more: Partial<Parameters<typeof openJoinedTrust>[2]>,
  tell: Parameters<typeof openJoinedTrust>[4] = () => undefined,
) {
  const options = { identityDir, caSha256, joinAddress: enrollment.joinAddress, ...more };
  const trust = await openJoinedTrust(store, coordinator, options, "gpu-1", tell);
  onTestFinished(() => trust?.close());
  return trust;
}

const nameIn = async (files: Parameters<typeof loadCredentials>[1]) =>
  (await loadCredentials(store, files, Date.now())).identity.name;

describe("a worker with a token", () => {
  test("waits for a coordinator that is not there yet, and says so", async () => {
    const token = await withToken();
    const { joinAddress } = enrollment;
    enrollment.close();
    let isSaid: () => void = () => {};
    const said = new Promise<void>((resolve) => {
      isSaid = resolve;
    });
    const waiting = joined({ join: token, joinAddress }, (_, message) => {
      if (message === "not joined yet") isSaid();
    });
    await said;
    await startCoordinator({ joinListen: joinAddress });
    expect(await nameIn((await waiting)!.files)).toMatch(/^gpu-1-/);
  });

  test("joins once; started again with the same command line, it uses what it has", async () => {
    const token = await withToken();
    const first = await joined({ join: token });
    const name = await nameIn(first!.files);
    expect(name).toMatch(/^gpu-1-/);
    expect(statSync(first!.files.key).mode & 0o777).toBe(0o600);
    const again = await joined({ join: token });
    expect(await nameIn(again!.files)).toBe(name);
    expect(await nameIn((await joined({}))!.files)).toBe(name);
    expect(events.map(({ event }) => event)).toEqual(["joined"]);
  });

  test("goes on by the fingerprint alone once the token is taken from its settings, where systemd keeps its state", async () => {
    const token = await withToken();
    const before = process.env.STATE_DIRECTORY;
    process.env.STATE_DIRECTORY = identityDir;
    onTestFinished(() => {
      if (before === undefined) delete process.env.STATE_DIRECTORY;
      else process.env.STATE_DIRECTORY = before;
    });
    const first = await joined({ join: token, identityDir: undefined });
    const again = await joined({ identityDir: undefined });
    expect(await nameIn(again!.files)).toBe(await nameIn(first!.files));
    expect(await joined({ identityDir: undefined, caSha256: undefined, joinAddress: undefined })).toBeUndefined();
  });

  test("whose certificate has run out joins again, with a new token only", async () => {
    const token = await withToken();
    const { files } = (await joined({ join: token }))!;
    const old = await issueFor(authority, { role: "worker", name: "old" }, { nowMs: Date.now() - 2 * HOUR_MS });
    writeFileSync(files.key, old.key.reveal() + old.chain);
    await expect(joined({})).rejects.toMatchObject({ code: "trust/option" });
    await expect(joined({ join: token })).rejects.toMatchObject({ code: "trust/token-used" });
    const second = await withToken();
    expect(await nameIn((await joined({ join: second }))!.files)).toMatch(/^gpu-1-/);
  });

  test("does not throw away an identity that is damaged", async () => {
    const token = await withToken();
    const { files } = (await joined({ join: token }))!;
    writeFileSync(files.key, "damaged");
    await expect(joined({ join: await withToken() })).rejects.toMatchObject({ code: "trust/pem" });
    expect(readFileSync(files.key, "utf8")).toBe("damaged");
  });

  test("needs the fingerprint, and a coordinator that has it", async () => {
    const token = await withToken();
    await expect(joined({ join: token, caSha256: undefined })).rejects.toThrow("--ca-sha256 is missing");
    const other = fingerprintOf((await makeAuthority()).certificate);
    await expect(joined({ join: token, caSha256: other })).rejects.toMatchObject({ code: "trust/fingerprint" });
    await joined({ join: token });
  });

  test("renews by itself, and the token stands in nothing that is logged", async () => {
    // Due after six seconds.
    const token = await withToken({ certificateTtl: 9000 });
    const lines: string[] = [];
    const renewed = new Promise<void>((resolve) => {
      void joined({ join: token }, (fields, message) => {
        lines.push(JSON.stringify(fields), message);
        if (message === "certificate renewed") resolve();
      });
    });
    await renewed;
    expect(events.map(({ event }) => event)).toEqual(["joined", "renewed"]);
    expect(lines).toContain("joined");
    expect(lines.join() + JSON.stringify(events)).not.toContain(token.split(".")[2]);
  });
});

test("without token, fingerprint and folder there is nothing to open: certificates come from files, or from nowhere", async () => {
  expect(await joined({ identityDir: undefined, caSha256: undefined })).toBeUndefined();
});

describe("a coordinator", () => {
  const place = async () => {
    const files = writeFiles(folder, "c", authority, await issueFor(authority, { role: "coordinator", name: "c" }));
    const certificates = await CertificateStore.open(store, files, { pollMs: HOUR_MS });
    onTestFinished(() => certificates.close());
    return {
      listenAddress: "127.0.0.1:0",
      certificates,
      tokensPath: placeOf(join(folder, "tokens.json")),
      onEvent: () => undefined,
    };
  };

  test("without the authority's key gives no certificates", async () => {
    expect(await openEnrollment(store, { certificateTtl: 1 }, await place())).toBeUndefined();
  });

  test("with the key of another authority does not start", async () => {
    const other = join(folder, "other-key.pem");
    writeFileSync(other, (await makeAuthority()).key.reveal());
    const wrong = openEnrollment(store, { certificateTtl: 1, caKey: other }, await place());
    await expect(wrong).rejects.toMatchObject({ code: "trust/no-authority" });
  });

  test("says where it cannot listen", async () => {
    const options = { certificateTtl: 1, caKey: join(folder, "ca-key.pem"), joinListen: enrollment.joinAddress };
    await expect(openEnrollment(store, options, await place())).rejects.toThrow(
      `cannot listen on ${enrollment.joinAddress}`,
    );
  });
});
