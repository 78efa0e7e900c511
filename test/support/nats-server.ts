import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { makeNatsServers, natsServerPath, natsVersions } from "../../scripts/nats-servers.mjs";

export { natsVersions };

export interface NatsServerOptions {
  readonly version: string;
  /** More lines of the configuration: users, TLS. */
  readonly config?: string;
  /** "always" unless said otherwise; servers before 2.10 cannot and leave it out. */
  readonly sync?: "always" | "default";
  /** Ends with the caller, not with the running test: for servers that several tests of a file share. */
  readonly shared?: boolean;
}

/** A real nats-server in a process of its own, on loopback, with a store of its own. It ends with the test. */
export class NatsServer {
  readonly #options: NatsServerOptions;
  readonly #folder: string;
  readonly #configFile: string;
  readonly url: string;
  readonly #port: number;
  readonly #monitoringPort: number;
  #process: ChildProcess | undefined;

  private constructor(
    options: NatsServerOptions,
    folder: string,
    port: number,
    monitoringPort: number,
    config: string,
  ) {
    this.#options = options;
    this.#folder = folder;
    this.#port = port;
    this.#monitoringPort = monitoringPort;
    this.url = `nats://127.0.0.1:${port}`;
    this.#configFile = join(folder, "nats.conf");
    writeFileSync(this.#configFile, config);
  }

  static async start(options: NatsServerOptions): Promise<NatsServer> {
    const server = await NatsServer.#make(options, "single", "");
    await server.start();
    return server;
  }

  /** Three servers that know each other. */
  static async startCluster(options: NatsServerOptions): Promise<readonly NatsServer[]> {
    const ports = await freePorts(3);
    const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(", ");
    const servers: NatsServer[] = [];
    for (const [k, port] of ports.entries()) {
      const cluster = `cluster { name: test, listen: "127.0.0.1:${port}", routes: [${routes}] }\n`;
      servers.push(await NatsServer.#make(options, `n${k}`, cluster));
    }
    await Promise.all(servers.map((server) => server.start()));
    return servers;
  }

  static async #make(options: NatsServerOptions, name: string, more: string): Promise<NatsServer> {
    makeNatsServers();
    const folder = mkdtempSync(join(realpathSync(tmpdir()), "deltaworks-nats-"));
    const [port = 0, monitoringPort = 0] = await freePorts(2);
    const sync = options.sync !== "default" && !options.version.startsWith("2.9.") ? "sync_interval: always" : "";
    const config = [
      `listen: "127.0.0.1:${port}"`,
      `http: "127.0.0.1:${monitoringPort}"`,
      `server_name: ${name}`,
      `jetstream { store_dir: "${join(folder, "store")}", max_file_store: 100G, max_memory_store: 64M, ${sync} }`,
      more,
      options.config ?? "",
    ].join("\n");
    const server = new NatsServer(options, folder, port, monitoringPort, config);
    if (options.shared !== true) onTestFinished(() => server.end());
    return server;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** Starts, and waits until it accepts connections. */
  async start(): Promise<void> {
    const child = spawn(natsServerPath(this.#options.version), ["-c", this.#configFile, "-l", this.#logFile]);
    this.#process = child;
    const exited = once(child, "exit").then(() => {
      throw new Error(`nats-server ended: ${readFileSync(this.#logFile, "utf8").slice(-2000)}`);
    });
    exited.catch(() => undefined);
    await Promise.race([this.#answers(), exited]);
  }

  /** SIGKILL: as a crash of the process; or SIGTERM. */
  async stop(signal: "SIGKILL" | "SIGTERM" = "SIGTERM"): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  /** SIGSTOP and SIGCONT: there, and silent. */
  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  /** Copies the store of a stopped server aside. */
  saveStore(): () => void {
    const saved = join(this.#folder, "saved");
    rmSync(saved, { recursive: true, force: true });
    cpSync(join(this.#folder, "store"), saved, { recursive: true });
    return () => {
      rmSync(join(this.#folder, "store"), { recursive: true, force: true });
      mkdirSync(join(this.#folder, "store"));
      cpSync(saved, join(this.#folder, "store"), { recursive: true });
    };
  }

  async end(): Promise<void> {
    this.resume();
    await this.stop("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** What an operator looks at before the next server of a cluster is restarted: it has caught up with the others. */
  async isHealthy(): Promise<boolean> {
    try {
      return (await fetch(`http://127.0.0.1:${this.#monitoringPort}/healthz`)).ok;
    } catch {
      return false;
    }
  }

  get #logFile(): string {
    return join(this.#folder, "nats.log");
  }

  async #answers(): Promise<void> {
    for (;;) {
      const greeting = await new Promise<boolean>((resolve) => {
        const socket = connect(this.#port, "127.0.0.1");
        socket.once("data", () => {
          socket.destroy();
          resolve(true);
        });
        socket.once("error", () => resolve(false));
        socket.once("close", () => resolve(false));
      });
      if (greeting) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Held open together, so that they are different ones. */
async function freePorts(count: number): Promise<number[]> {
  const holders = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(holders.map((holder) => once(holder, "listening")));
  const ports = holders.map((holder) => {
    const address = holder.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(holders.map((holder) => new Promise((resolve) => holder.close(resolve))));
  return ports;
}
