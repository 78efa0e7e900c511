import { join } from "node:path";
import { Server } from "@grpc/grpc-js";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { tokenCreateCommand } from "../../cli/commands/token.ts";
import { enrollmentService } from "../../enrollment/index.ts";
import { EnrollmentService } from "../../proto/index.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import {
  type Authority,
  CertificateStore,
  fingerprintOf,
  type Role,
  Secret,
  serverCredentials,
  TokenFile,
} from "../../trust/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { HOUR_MS, issueFor, makeAuthority, writeFiles } from "../trust/made-certificates.ts";
import { CapturedIo } from "./captured-io.ts";

const store = new FileStore();
let authority: Authority;
let tokens: TokenFile;
let coordinator: string;

beforeEach(async () => {
  const folder = temporaryFolder();
  authority = await makeAuthority();
  tokens = await TokenFile.open(store, placeOf(join(folder, "tokens.json")));
  const files = writeFiles(folder, "c", authority, await issueFor(authority, { role: "coordinator", name: "c" }));
  const certificates = await CertificateStore.open(store, files, { pollMs: HOUR_MS });
  const server = new Server();
  server.addService(EnrollmentService, enrollmentService({ authority, tokens }));
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", serverCredentials(certificates), (error, port) =>
      error ? reject(error) : resolve(port),
    ),
  );
  onTestFinished(() => {
    server.forceShutdown();
    certificates.close();
  });
  coordinator = `127.0.0.1:${port}`;
});

async function create(role: Role, more: Partial<Parameters<typeof tokenCreateCommand>[1]> = {}) {
  const {
    certificate,
    key,
    authority: ca,
  } = writeFiles(temporaryFolder(), "own", authority, await issueFor(authority, { role, name: "anna" }));
  const io = new CapturedIo();
  const options = {
    coordinator,
    role: "worker",
    ttl: 600_000,
    json: false,
    insecure: false,
    cert: certificate,
    key,
    ca,
    ...more,
  };
  return { code: await tokenCreateCommand([], options, io), io };
}

test("an admin gets a token that works, alone on stdout, and the fingerprint to go with it", async () => {
  const { code, io } = await create("admin");
  expect(code, io.err).toBe(0);
  expect(io.out).toMatch(/^dw1\.[0-9a-f]{12}\.[\w-]{43}\n$/);
  expect(io.err).toContain(fingerprintOf(authority.certificate));
  expect(await tokens.redeem(new Secret(io.out.trim()), "a".repeat(64), Date.now())).toMatchObject({ role: "worker" });
  expect((await create("admin", { json: true })).io.objects()).toMatchObject([
    { event: "token", caSha256: fingerprintOf(authority.certificate) },
  ]);
});

test.each([
  ["another role than admin", "submitter", {}, 1, "trust/role"],
  ["no coordinator", "admin", { coordinator: undefined }, 2, "trust/option"],
  ["a role that is none", "admin", { role: "root" }, 2, "trust/option"],
  ["a key without certificate", "admin", { cert: undefined }, 2, "trust/option"],
  [
    "no TLS to another machine",
    "admin",
    { coordinator: "10.0.0.7:1", cert: undefined, key: undefined, ca: undefined },
    2,
    "trust/plaintext-address",
  ],
  ["nobody there", "admin", { coordinator: "127.0.0.1:1" }, 1, "wire/disconnected"],
] as const)("%s is an error that says so", async (_, role, more, exit, error) => {
  const { code, io } = await create(role, more);
  expect(io.err).toContain(`error ${error}`);
  expect(code).toBe(exit);
  expect(io.out).toBe("");
});
