import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { describe, expect, onTestFinished, test } from "vitest";
import { FileStore, placeOf } from "../../storage/index.ts";
import { CertificateStore, loadCredentials, type TrustError, type TrustFiles } from "../../trust/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { HOUR_MS, issueFor, makeAuthority, writeFiles } from "./made-certificates.ts";

const store = new FileStore();
const worker = { role: "worker", name: "w1" } as const;

async function made(more: Parameters<typeof issueFor>[2] = {}) {
  const authority = await makeAuthority();
  const files = writeFiles(temporaryFolder(), "own", authority, await issueFor(authority, worker, more));
  return { authority, files };
}

async function opened(files: TrustFiles) {
  const rejected: string[] = [];
  const certificates = await CertificateStore.open(store, files, {
    pollMs: HOUR_MS,
    onRejected: (error) => rejected.push((error as TrustError).code),
  });
  onTestFinished(() => certificates.close());
  return { certificates, rejected };
}

describe("files that cannot be used", () => {
  const load = (files: TrustFiles, nowMs = Date.now()) => loadCredentials(store, files, nowMs);

  test("the key of another certificate", async () => {
    const { files } = await made();
    const other = await made();
    await expect(load({ ...files, key: other.files.key })).rejects.toMatchObject({ code: "trust/key-mismatch" });
  });

  test("the authority of others", async () => {
    const { files } = await made();
    const other = await made();
    await expect(load({ ...files, authority: other.files.authority })).rejects.toMatchObject({
      code: "trust/wrong-authority",
    });
    await expect(
      load({ ...files, authority: placeOf(files.certificate.replace(".pem", "-none.pem")) }),
    ).rejects.toMatchObject({
      code: "storage/not-found",
    });
  });

  test("no PEM; the message names the file and not what is in it", async () => {
    const { files } = await made();
    writeFileSync(files.certificate, "CERTIFICATE-CANARY");
    await expect(load(files)).rejects.toMatchObject({
      code: "trust/pem",
      message: `${files.certificate} holds no certificate`,
    });
    const second = await made();
    writeFileSync(second.files.key, "-----BEGIN PRIVATE KEY-----\nKEYCANARY\n-----END PRIVATE KEY-----\n");
    const failure = await load(second.files).catch((error: TrustError) => error);
    expect(failure).toMatchObject({ code: "trust/pem" });
    expect(JSON.stringify(failure) + (failure as Error).stack + String((failure as Error).cause)).not.toContain(
      "CANARY",
    );
  });

  test("expired, or not valid yet", async () => {
    const { files } = await made();
    await expect(load(files, Date.now() + 2 * HOUR_MS)).rejects.toMatchObject({ code: "trust/expired" });
    await expect(load(files, Date.now() - HOUR_MS)).rejects.toMatchObject({ code: "trust/not-yet-valid" });
  });

  test("one file for certificate, key and authority is fine", async () => {
    const { authority, files } = await made();
    const { chain, key } = await issueFor(authority, worker);
    writeFileSync(files.certificate, key.reveal() + chain);
    const one = { certificate: files.certificate, key: files.certificate, authority: files.certificate };
    expect((await load(one)).identity).toMatchObject(worker);
  });
});

describe("files that change", () => {
  test("nothing new, nothing done", async () => {
    const { certificates } = await opened((await made()).files);
    expect(await certificates.reload()).toBe(false);
  });

  test("are taken over once key and certificate fit, not by halves", async () => {
    const { authority, files } = await made();
    const { certificates, rejected } = await opened(files);
    const before = certificates.current;
    const { chain, key } = await issueFor(authority, { ...worker, name: "w2" });
    writeFileSync(files.key, key.reveal());
    expect(await certificates.reload()).toBe(false);
    expect(certificates.current).toBe(before);
    expect(rejected).toEqual(["trust/key-mismatch"]);
    writeFileSync(files.certificate, chain);
    expect(await certificates.reload()).toBe(true);
    expect(certificates.current.identity.name).toBe("w2");
  });

  test("that are gone for a moment, or damaged, change nothing", async () => {
    const { files } = await made();
    const { certificates, rejected } = await opened(files);
    const before = certificates.current;
    renameSync(files.authority, `${files.authority}.away`);
    expect(await certificates.reload()).toBe(false);
    renameSync(`${files.authority}.away`, files.authority);
    writeFileSync(files.certificate, "damaged");
    expect(await certificates.reload()).toBe(false);
    rmSync(files.certificate);
    mkdirSync(files.certificate);
    expect(await certificates.reload()).toBe(false);
    expect(certificates.current).toBe(before);
    expect(rejected).toEqual(["storage/not-found", "trust/pem", "storage/not-a-file"]);
  });

  test("are noticed by themselves", async () => {
    const { authority, files } = await made();
    const changed = new Promise<string>((resolve) => {
      void CertificateStore.open(store, files, { pollMs: 5, onChange: ({ identity }) => resolve(identity.name) }).then(
        async (certificates) => {
          onTestFinished(() => certificates.close());
          const { chain, key } = await issueFor(authority, { ...worker, name: "w2" });
          writeFileSync(files.certificate, key.reveal() + chain);
          writeFileSync(files.key, key.reveal());
        },
      );
    });
    expect(await changed).toBe("w2");
  });
});
