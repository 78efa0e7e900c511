/**
 * Where packets go that nobody answers, not even to refuse: a firewall, a machine that is gone, a listener whose queue is full. Here it is the
 * last: the coordinator stands still, and the system drops whoever comes after its queue has filled up.
 */
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { linuxOnly } from "../../scripts/linux-only.mjs";
import { run } from "../e2e/cli-process.ts";
import { did } from "./mixed-rig.ts";
import { Rig } from "./rig.ts";

/** Of Node, unless said otherwise; one more than that is taken. */
const BACKLOG = 511;

/** Connections that wait for the listener to accept them, as the system counts. */
function waitingAt(port: number): number {
  linuxOnly("How many connections wait is read from /proc/net/tcp");
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const lines = readFileSync("/proc/net/tcp", "latin1").trim().split("\n").slice(1);
  const listening = lines.map((line) => line.trim().split(/\s+/)).find((f) => f[1]?.endsWith(local) && f[3] === "0A");
  return Number.parseInt(listening?.[4]?.split(":")[1] ?? "0", 16);
}

async function fillQueue(port: number): Promise<() => void> {
  const sockets: Socket[] = [];
  const empty = () => {
    for (const socket of sockets.splice(0)) socket.destroy();
  };
  onTestFinished(empty);
  for (let k = 0; k < BACKLOG + 20; k++) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => {});
    sockets.push(socket);
  }
  await expect.poll(() => waitingAt(port), { timeout: 20_000 }).toBe(BACKLOG + 1);
  return empty;
}

test("a coordinator that answers nothing is tried again by workers, and told of by commands; it is found once it answers", async () => {
  const rig = new Rig();
  const { cli, address } = await rig.coordinator();
  const port = Number(address.split(":")[1]);
  cli.freeze();
  const empty = await fillQueue(port);
  const worker = rig.worker(address, "w1");
  await did(worker, "not attached");
  expect(worker.events.find(({ msg }) => msg === "not attached")).toMatchObject({
    code: "worker/unreachable",
    msg: "not attached",
  });
  const { code, stderr } = await run(["list", "--coordinator", address]);
  expect(code).toBe(1);
  expect(stderr).toContain(`${address} has answered none of 4 attempts to connect`);
  empty();
  cli.thaw();
  await did(worker, "attached");
});
