/** Secrets are planted everywhere that a cluster takes them, and looked for in everything that it says and writes. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { run } from "../e2e/cli-process.ts";
import type { Cli } from "../support/child-process.ts";
import { certificateArgs, Rig } from "./rig.ts";

test("keys and tokens stand in no plan, journal, log, error or output", async () => {
  const rig = new Rig();
  const certs = rig.path("certs");
  const said: { readonly what: string; readonly text: string }[] = [];
  const processes: Cli[] = [];
  const started = (cli: Cli): Cli => {
    processes.push(cli);
    return cli;
  };
  const call = async (...args: string[]) => {
    const { stdout, stderr } = await run(args);
    said.push({ what: args.join(" "), text: stdout + stderr });
    return stdout;
  };
  await call("certs", "init", certs);
  for (const [role, name] of [
    ["coordinator", "main"],
    ["admin", "anna"],
    ["submitter", "sam"],
    ["worker", "w1"],
  ] as const)
    await call("certs", "issue", certs, "--role", role, "--name", name);
  const argsOf = (role: string, name: string) => certificateArgs(certs, role, name);
  const loud = ["--log-level", "trace"];

  const coordinator = await rig.coordinator([
    ...argsOf("coordinator", "main"),
    ...["--ca-key", join(certs, "ca-key.pem"), "--certificate-ttl", "15s", ...loud],
  ]);
  started(coordinator.cli);
  const { address, joinAddress } = coordinator;

  // The token itself is the one thing that `token create` may say.
  const tokens: string[] = [];
  let caSha256 = "";
  for (const _ of [1, 2]) {
    const { stdout } = await run([
      "token",
      "create",
      "--role",
      "worker",
      "--coordinator",
      address,
      "--json",
      ...argsOf("admin", "anna"),
    ]);
    const made = JSON.parse(stdout) as { token: string; caSha256: string };
    tokens.push(made.token);
    caSha256 = made.caSha256;
  }
  const [good = "", spare = ""] = tokens;
  const joining = (directory: string) => [
    ...["--ca-sha256", caSha256, "--join-address", String(joinAddress), "--identity-dir", rig.path(directory), ...loud],
  ];
  const joined = started(rig.worker(address, "gpu-1", joining("identity"), { environment: { DELTAWORKS_JOIN: good } }));
  await joined.says("certificate renewed");
  started(rig.worker(address, "w1", [...argsOf("worker", "w1"), ...loud]));
  const submit = started(rig.submit(address, rig.recipe(), "job", argsOf("submitter", "sam")));
  expect((await submit.ended).code, submit.stderr).toBe(0);
  await call("events", "job", "--coordinator", address, "--json", ...argsOf("submitter", "sam"));
  await call("status", "job", "--coordinator", address, "--json", ...argsOf("submitter", "sam"));

  // What goes wrong tells no more: a used token, a damaged one, a damaged key, a key of others.
  const wrong = spare.replace(/.{4}$/, "AAAA");
  for (const token of [good, wrong]) {
    const thief = started(
      rig.worker(address, "thief", joining(`thief-${token.length}`), { environment: { DELTAWORKS_JOIN: token } }),
    );
    expect((await thief.ended).code).not.toBe(0);
    expect(thief.stderr).toMatch(/trust\/token/);
  }
  const [, certificate = "", , , , ca = ""] = argsOf("worker", "w1");
  for (const key of [join(certs, "ca-key.pem"), certificate]) {
    const failed = started(rig.worker(address, "w1", ["--cert", certificate, "--key", key, "--ca", ca]));
    expect((await failed.ended).code).not.toBe(0);
  }

  const canaries = [
    ...[good, spare, wrong].map((token) => token.split(".")[2] ?? ""),
    ...["ca", "coordinator-main", "admin-anna", "submitter-sam", "worker-w1"].map((name) =>
      keyBody(join(certs, `${name}-key.pem`)),
    ),
    keyBody(join(rig.path("identity"), "identity.pem")),
  ];
  expect(canaries.every((canary) => canary.length >= 40)).toBe(true);
  for (const cli of processes) said.push({ what: cli.args.slice(0, 3).join(" "), text: cli.stdout + cli.stderr });
  for (const path of [...filesIn(rig.state), ...filesIn(rig.out)])
    said.push({ what: path, text: readFileSync(path, "latin1") });
  // It would find one: the looking itself is tried.
  expect(said.some(({ text }) => text.includes("gpu-1"))).toBe(true);
  expect(said.length).toBeGreaterThan(20);
  const leaks = said.filter(({ text }) => canaries.some((canary) => text.includes(canary)));
  expect(leaks.map(({ what }) => what)).toEqual([]);
});

/** The second line of a private key's base64: no two keys share it. */
function keyBody(path: string): string {
  const text = readFileSync(path, "utf8");
  return text.slice(text.indexOf("BEGIN PRIVATE KEY")).split("\n")[2] ?? "";
}

function filesIn(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return names.map((name) => join(folder, name)).filter((path) => statSync(path).isFile());
}
