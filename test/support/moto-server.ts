import { type ChildProcess, spawn } from "node:child_process";
import { onTestFinished } from "vitest";
import { pythonWith } from "./python-environment.ts";
import { ended, freePort } from "./s3-server.ts";

const VERSION = "5.2.5";

/** An S3 server that verifies nothing, neither hashes nor signatures: moto, from PyPI, with some buckets. It ends with the test. */
export async function motoServer(buckets: readonly string[]): Promise<string> {
  const port = await freePort();
  const python = pythonWith("moto", "moto[server]", VERSION);
  const child = spawn(python, ["-m", "moto.server", "-H", "127.0.0.1", "-p", String(port)], { stdio: "ignore" });
  onTestFinished(() => ended(child));
  const endpoint = `http://127.0.0.1:${port}`;
  for (const bucket of buckets) {
    const answer = await answered(child, () => fetch(`${endpoint}/${bucket}`, { method: "PUT" }));
    if (!answer.ok) throw new Error(`PUT ${bucket}: ${answer.status}`);
  }
  return endpoint;
}

/** It takes seconds to come up. */
async function answered(child: ChildProcess, ask: () => Promise<Response>): Promise<Response> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`moto ended with ${child.exitCode}`);
    try {
      return await ask();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
