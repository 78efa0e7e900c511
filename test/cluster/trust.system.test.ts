/** Certificates in a cluster of real processes: who is let in, who is not, and what happens when they change. */
import { cpSync, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { readAuthority } from "../../cli/commands/certs.ts";
import { FileStore, placeOf } from "../../storage/index.ts";
import { hashesOf, run } from "../e2e/cli-process.ts";
import { HOUR_MS, issueFor, makeAuthority, writeFiles } from "../trust/made-certificates.ts";
import { certificateArgs, Rig } from "./rig.ts";

let rig: Rig;
let certs: string;

beforeEach(async () => {
  rig = new Rig();
  certs = rig.path("certs");
  await deltaworks("certs", "init", certs);
  await issued("coordinator", "main");
  await issued("submitter", "sam");
});

async function deltaworks(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(args);
  expect(code, stderr).toBe(0);
  return stdout;
}

async function issued(role: string, name: string, ...more: string[]): Promise<readonly string[]> {
  await deltaworks("certs", "issue", certs, "--role", role, "--name", name, ...more);
  return certificateArgs(certs, role, name);
}

const coordinatorArgs = () => certificateArgs(certs, "coordinator", "main");
const submitterArgs = () => certificateArgs(certs, "submitter", "sam");

async function expectSameAsOnOneMachine(name: string): Promise<void> {
  expect(hashesOf(join(rig.out, name))).toEqual(hashesOf(await rig.reference()));
}

describe("mutual TLS", () => {
  test("coordinator, two workers and a submitter with certificates merge the same bytes", async () => {
    const { address } = await rig.coordinator(coordinatorArgs());
    for (const name of ["w1", "w2"]) rig.worker(address, name, await issued("worker", name));
    const submit = rig.submit(address, rig.recipe(), "job", submitterArgs());
    expect((await submit.ended).code, submit.stderr).toBe(0);
    await expectSameAsOnOneMachine("job");
  });

  test("another address than loopback without certificates is refused, by coordinator, worker and submitter", async () => {
    const commands = [
      ["coordinator", "--listen", "0.0.0.0:0", "--state", rig.state],
      ["worker", "--coordinator", "10.255.255.1:7410"],
      ["submit", rig.recipe(), "out:x", "--coordinator", "10.255.255.1:7410"],
    ];
    for (const command of commands) {
      const { code, stderr } = await run(command);
      expect(stderr).toMatch(/trust\/plaintext-address.*without TLS/);
      expect(code).toBe(2);
    }
  });

  test("--insecure allows it", async () => {
    const { address } = await rig.coordinator(["--listen", "0.0.0.0:0", "--insecure"]);
    expect(address).toMatch(/^0\.0\.0\.0:\d+$/);
  });

  test("who has no certificate, or one of others, or the wrong role, gets nowhere", async () => {
    const { address, cli } = await rig.coordinator(coordinatorArgs());
    const other = await makeAuthority();
    const theirs = async (role: "worker" | "submitter") => {
      const files = writeFiles(rig.folder, role, other, await issueFor(other, { role, name: "eve" }));
      return ["--cert", files.certificate, "--key", files.key, "--ca", files.authority];
    };
    const asWorker = (name: string, args: readonly string[]) => rig.worker(address, name, args);

    const wrongRole = asWorker("sam", submitterArgs());
    expect((await wrongRole.ended).code).not.toBe(0);
    expect(wrongRole.stderr).toMatch(/submitter sam may not/);

    // It does not believe our coordinator, nor would that believe it: both are found before anything is said.
    const eve = asWorker("eve", await theirs("worker"));
    await eve.says("self-signed certificate");
    await eve.killed();

    const plain = asWorker("plain", []);
    await plain.says(/not attached/);
    await plain.killed();

    const submits = [
      { args: await issued("worker", "w1"), says: /worker w1 may not/ },
      { args: await theirs("submitter"), says: /wire\/disconnected.*certificate/ },
      { args: [], says: /wire\/disconnected/ },
    ];
    for (const { args, says } of submits) {
      const submit = rig.submit(address, rig.recipe(), "no", args);
      expect((await submit.ended).code).not.toBe(0);
      expect(submit.stderr).toMatch(says);
    }
    expect(cli.stderr).not.toMatch(/job submitted|worker attached/);
    expect(readdirSync(rig.out)).toEqual([]);
  });
});

test("a certificate that has run out: neither coordinator nor worker starts with it, and both say until when it was good", async () => {
  const authority = await readAuthority(new FileStore(), placeOf(certs));
  for (const role of ["coordinator", "worker"] as const) {
    const old = { nowMs: Date.now() - 2 * HOUR_MS, ttlMs: HOUR_MS };
    const files = writeFiles(rig.folder, role, authority, await issueFor(authority, { role, name: "old" }, old));
    const args = ["--cert", files.certificate, "--key", files.key, "--ca", files.authority];
    const command = role === "worker" ? ["--coordinator", "127.0.0.1:1"] : ["--state", rig.state];
    const { code, stderr } = await run([role, ...command, ...args]);
    expect(stderr).toMatch(/trust\/expired.*was valid until 20/);
    expect(code).toBe(1);
  }
});

describe("certificates that change while a job runs", () => {
  test("those of coordinator and worker are replaced: nothing fails, no attempt is lost", async () => {
    const { address, cli } = await rig.coordinator(coordinatorArgs());
    // Slow enough to be still at it when the files have been seen.
    const slow = [{ call: "write", path: "safetensors$", thread: "worker", do: "slow", ms: 40 }] as const;
    const worker = rig.worker(address, "w1", await issued("worker", "w1"), { faults: slow });
    const submit = rig.submit(address, rig.recipe(), "job", submitterArgs());
    await submit.event(({ slicesDone }) => Number(slicesDone) >= 5);
    await issued("coordinator", "main", "--overwrite");
    await issued("worker", "w1", "--overwrite");
    await cli.says("certificates changed");
    expect((await submit.ended).code, submit.stderr).toBe(0);
    expect(worker.end).toBeUndefined();
    await expectSameAsOnOneMachine("job");
  });
});

describe("a worker that joins with a token", () => {
  test("works with the certificates that it gets, in a job that outlives the first of them", async () => {
    const admin = await issued("admin", "anna");
    const enrolling = ["--ca-key", join(certs, "ca-key.pem"), "--certificate-ttl", "12s"];
    const { address, joinAddress } = await rig.coordinator([...coordinatorArgs(), ...enrolling]);
    const made = await deltaworks("token", "create", "--role", "worker", "--coordinator", address, "--json", ...admin);
    const { token, caSha256 } = JSON.parse(made) as { token: string; caSha256: string };
    const identity = rig.path("identity");
    const joining = ["--ca-sha256", caSha256, "--join-address", String(joinAddress), "--identity-dir", identity];
    const { environment } = { environment: { DELTAWORKS_JOIN: token } };
    const slow = [{ call: "read", path: "safetensors$", thread: "worker", do: "slow", ms: 20 }] as const;
    const worker = rig.worker(address, "gpu-1", joining, { environment, faults: slow });
    await worker.says("joined");
    const submit = rig.submit(address, rig.recipe(), "job", submitterArgs());
    expect((await submit.ended).code, submit.stderr).toBe(0);
    await expectSameAsOnOneMachine("job");

    // 220 slices of some twenty-five seconds in all: it renewed at 8 s, and attached anew with a certificate that was good to the end.
    expect(worker.stderr).toMatch(/certificate renewed[\s\S]*attaches anew[\s\S]*attached/);
    expect(worker.end).toBeUndefined();

    // The token is used up; another machine gets nothing for it.
    const thief = rig.worker(address, "gpu-2", [...joining.slice(0, 4), "--identity-dir", rig.path("other")], {
      environment,
    });
    expect((await thief.ended).code).not.toBe(0);
    expect(thief.stderr).toContain("trust/token-used");
    expect(existsSync(join(rig.path("other"), "identity.pem"))).toBe(false);

    // The worker itself starts again with the same command line.
    await worker.killed();
    cpSync(identity, rig.path("copy"), { recursive: true });
    const again = rig.worker(address, "gpu-1", joining, { environment });
    await again.says("attached");
  });
});
