import { createPrivateKey, X509Certificate } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { certsInitCommand, certsIssueCommand, certsShowCommand } from "../../cli/commands/certs.ts";
import { parseDays, parseDuration } from "../../cli/duration.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { loadCredentials } from "../../trust/index.ts";
import { run } from "../e2e/cli-process.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { CapturedIo } from "./captured-io.ts";

const issueOptions = { role: "worker", name: "w1", days: 90, overwrite: false, json: true };

async function initialised(): Promise<{ readonly folder: string; readonly sha256: string }> {
  const folder = join(temporaryFolder(), "certs");
  const io = new CapturedIo();
  expect(await certsInitCommand([folder], { days: 3650, json: true }, io)).toBe(0);
  return { folder, sha256: String(io.objects()[0]?.sha256) };
}

async function issued(
  folder: string,
  more: Partial<Parameters<typeof certsIssueCommand>[1]> = {},
): Promise<CapturedIo> {
  const io = new CapturedIo();
  expect(await certsIssueCommand([folder], { ...issueOptions, ...more }, io), io.err).toBe(0);
  return io;
}

describe("deltaworks certs", () => {
  test("init and issue make files that fit each other, keys for their owner only", async () => {
    const { folder } = await initialised();
    await issued(folder);
    expect(readdirSync(folder).sort()).toEqual(["ca-key.pem", "ca.pem", "worker-w1-key.pem", "worker-w1.pem"]);
    for (const key of ["ca-key.pem", "worker-w1-key.pem"]) expect(statSync(join(folder, key)).mode & 0o777).toBe(0o600);
    const files = {
      certificate: placeOf(join(folder, "worker-w1.pem")),
      key: placeOf(join(folder, "worker-w1-key.pem")),
      authority: placeOf(join(folder, "ca.pem")),
    };
    const { identity } = await loadCredentials(new FileStore(), files, Date.now());
    expect(identity).toMatchObject({ role: "worker", name: "w1" });
    expect(Math.round((identity.notAfterMs - Date.now()) / 86_400_000)).toBe(90);
  });

  test("a coordinator's certificate is for this machine, or for the hosts given", async () => {
    const { folder } = await initialised();
    await issued(folder, { role: "coordinator", name: "here" });
    const here = new X509Certificate(readFileSync(join(folder, "coordinator-here.pem")));
    expect(here.checkHost("localhost")).toBe("localhost");
    expect(here.checkHost(hostname().toLowerCase())).toBe(hostname().toLowerCase());
    expect(here.checkIP("127.0.0.1")).toBe("127.0.0.1");
    await issued(folder, { role: "coordinator", name: "there", hosts: "c.example, 10.0.0.7" });
    const there = new X509Certificate(readFileSync(join(folder, "coordinator-there.pem")));
    expect(there.checkHost("c.example")).toBe("c.example");
    expect(there.checkIP("10.0.0.7")).toBe("10.0.0.7");
    expect(there.checkHost("localhost")).toBeUndefined();
  });

  test("what is there is not replaced; --overwrite replaces a certificate, never an authority", async () => {
    const { folder } = await initialised();
    await issued(folder);
    const before = readFileSync(join(folder, "worker-w1.pem"), "utf8");
    const io = new CapturedIo();
    expect(await certsIssueCommand([folder], issueOptions, io)).toBe(2);
    expect(await certsInitCommand([folder], { days: 1, json: true }, io)).toBe(2);
    expect(io.err.match(/trust\/exists/g)).toHaveLength(2);
    expect(readFileSync(join(folder, "worker-w1.pem"), "utf8")).toBe(before);
    const { code, stderr } = await run(["certs", "issue", folder, "--role", "worker", "--name", "w1", "--overwrite"]);
    expect(code, stderr).toBe(0);
    const after = readFileSync(join(folder, "worker-w1.pem"));
    expect(String(after)).not.toBe(before);
    expect(
      new X509Certificate(after).checkPrivateKey(createPrivateKey(readFileSync(join(folder, "worker-w1-key.pem")))),
    ).toBe(true);
  });

  test.each([
    [{ role: "root" }, 'there is no role "root"'],
    [{ name: "W 1" }, '"W 1" cannot be the name of a peer'],
    [{ hosts: "a,b c" }, '"b c" is no host name and no address'],
  ])("%j is a usage error", async (wrong, message) => {
    const { folder } = await initialised();
    const io = new CapturedIo();
    expect(await certsIssueCommand([folder], { ...issueOptions, json: false, ...wrong }, io)).toBe(2);
    expect(io.err).toContain(`error trust/option  ${message}`);
    expect(readdirSync(folder)).toHaveLength(2);
  });

  test("show says role, name, hosts, times and fingerprint of every certificate of a file, and no key", async () => {
    const { folder, sha256 } = await initialised();
    await issued(folder, { role: "coordinator", name: "c1", hosts: "c.example" });
    const io = new CapturedIo();
    expect(await certsShowCommand([join(folder, "coordinator-c1.pem")], { json: true }, io)).toBe(0);
    expect(io.objects()).toMatchObject([
      { role: "coordinator", name: "c1", names: "URI:spiffe://deltaworks/coordinator/c1, DNS:c.example" },
      { authority: true, sha256 },
    ]);
    const text = new CapturedIo();
    expect(await certsShowCommand([join(folder, "ca.pem")], { json: false }, text)).toBe(0);
    expect(text.out).toMatch(new RegExp(`^sha256 +${sha256}$`, "m"));
    const key = new CapturedIo();
    expect(await certsShowCommand([join(folder, "ca-key.pem")], { json: false }, key)).toBe(1);
    expect(key.err).toContain("holds no certificate");
  });
});

test.each([
  ["90s", 90_000],
  ["10m", 600_000],
  ["1.5h", 5_400_000],
  ["7d", 604_800_000],
  ["250ms", 250],
])("%s is %d ms", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test.each(["", "10", "m", "-1m", "0s", "1e3s", "10 m", "10M"])("%j is no duration", (text) => {
  expect(() => parseDuration(text)).toThrow("Write a number and a unit");
});

test.each(["0", "-1", "1.5", "1e2", "x", "36501"])("%j is no number of days", (text) => {
  expect(() => parseDays(text)).toThrow("whole number of days");
});
