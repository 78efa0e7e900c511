import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { makeS3Server, s3ServerPath } from "../../scripts/s3-server.mjs";
import { HttpRanges } from "../../storage/http/http-ranges.ts";
import { S3Buckets } from "../../storage/s3/s3-buckets.ts";
import { S3Objects } from "../../storage/s3/s3-objects.ts";
import { encodeKey, signedHeaders } from "../../storage/s3/sigv4.ts";

export const s3Keys = { accessKeyId: "tester", secretAccessKey: "not-a-secret" };
const REGION = "us-east-1";

/** A real S3 server (versitygw) in a process of its own, on loopback, with a folder of its own. It ends with the test. */
export class S3Server {
  readonly endpoint: string;
  /** Through which objects are put: without TLS, whatever the endpoint has. */
  readonly #plain: string;
  readonly #running: Running;

  private constructor(endpoint: string, running: Running) {
    this.endpoint = endpoint;
    this.#plain = running.endpoint;
    this.#running = running;
  }

  /** `tls`: paths of PEM files. */
  static async start(tls?: { readonly cert: string; readonly key: string }): Promise<S3Server> {
    makeS3Server();
    const folder = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-s3-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const store = join(folder, "store");
    mkdirSync(store);
    const plain = await run(store);
    if (tls === undefined) return new S3Server(plain.endpoint, plain);
    const secure = await run(store, ["--cert", tls.cert, "--key", tls.key]);
    return new S3Server(secure.endpoint.replace("http:", "https:"), plain);
  }

  /** Kills it, as `kill -9` does, and starts it at the same address with what it had. */
  async restart(): Promise<void> {
    await ended(this.#running.child);
    this.#running.child = await started(this.#running);
  }

  /** It stands still, and answers nobody. */
  async pause(ms: number): Promise<void> {
    const { child } = this.#running;
    child.kill("SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, ms));
    child.kill("SIGCONT");
  }

  async makeBucket(name: string): Promise<void> {
    await this.#put(`/${name}`, new Uint8Array());
  }

  /** `path`: "bucket/key", the key as it is. */
  async put(path: string, bytes: Uint8Array): Promise<void> {
    await this.#put(`/${encodeKey(path)}`, bytes);
  }

  /** What it answers to a question as it is, signed. `path`: with its query, encoded. */
  async ask(
    method: string,
    path: string,
    bytes: Uint8Array = new Uint8Array(),
    more: Readonly<Record<string, string>> = {},
  ): Promise<Response> {
    const url = new URL(`${this.#plain}${path}`);
    const payloadSha256 = createHash("sha256").update(bytes).digest("hex");
    const { host: _, ...headers } = signedHeaders({
      ...{ method, url, headers: more, region: REGION, credentials: s3Keys, at: new Date(), payloadSha256 },
    });
    const hasBody = method === "PUT" || method === "POST";
    return fetch(url, { method, headers, ...(hasBody ? { body: Buffer.from(bytes) } : {}) });
  }

  async #put(path: string, bytes: Uint8Array): Promise<void> {
    const answer = await this.ask("PUT", path, bytes);
    if (!answer.ok) throw new Error(`PUT ${path}: ${answer.status} ${await answer.text()}`);
  }
}

/** What reads and writes a server's objects in this process, until the test ends. `ca`: path of a PEM file. */
export function s3ObjectsOf(endpoint: string, ca?: string, keys = s3Keys): S3Objects {
  const authority = ca === undefined ? {} : { ca: readFileSync(ca, "utf8") };
  const ranges = new HttpRanges({ firstPauseMs: 1, environment: {}, ...authority });
  onTestFinished(() => ranges.close());
  const settings = {
    ...{ profile: "default", region: undefined, endpoint: new URL(endpoint), addressing: undefined },
    ...{ requesterPays: false, encryption: undefined, keys, otherWay: undefined },
  };
  return new S3Objects(new S3Buckets(ranges, async () => settings));
}

/** A process that may be another one later. */
interface Running {
  readonly endpoint: string;
  readonly port: number;
  readonly args: readonly string[];
  child: ChildProcess;
}

async function run(store: string, more: readonly string[] = []): Promise<Running> {
  const port = await freePort();
  const args = [
    ...["--access", s3Keys.accessKeyId, "--secret", s3Keys.secretAccessKey, "--region", REGION],
    ...["--port", `127.0.0.1:${port}`, "--keep-alive", "--quiet", ...more, "posix", store],
  ];
  const running = { endpoint: `http://127.0.0.1:${port}`, port, args };
  return { ...running, child: await started(running) };
}

async function started({ port, args }: Pick<Running, "port" | "args">): Promise<ChildProcess> {
  const child = spawn(s3ServerPath, args, { stdio: "ignore" });
  onTestFinished(() => ended(child));
  await reachable(port, child);
  return child;
}

export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

async function reachable(port: number, child: ChildProcess): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`versitygw ended with ${child.exitCode}`);
    const socket = connect(port, "127.0.0.1");
    const isThere = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
    });
    socket.destroy();
    if (isThere) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
