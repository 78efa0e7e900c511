/**
 * A TCP proxy for tests of what networks do: stall, delay, crawl, reset, fall silent. Faults are set and lifted at any
 * time and hold for connections that stand as for new ones. Nothing is random, and nothing needs rights or a kernel module.
 *
 * Packet loss is a stall here: what TCP makes of lost packets is that bytes come late, in order, or the connection ends.
 */
import { EventEmitter, once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** "up": from the side that dialed to the side that was dialed. */
export type Direction = "up" | "down";

/** How a link behaves, per direction. */
export interface Link {
  /** Every byte arrives so much later, in order. */
  readonly delayMs: number;
  readonly bytesPerSecond: number;
  /** Bytes wait, with back-pressure, until the stall ends; then they go on. */
  readonly stalled: boolean;
}

const SOUND: Link = { delayMs: 0, bytesPerSecond: Number.POSITIVE_INFINITY, stalled: false };
/** Bytes of a direction that wait in the proxy before it stops to read: about what a socket's buffer holds. */
const HELD_BYTES = 64 * 1024;

/** What makes time pass; tests of the proxy itself have their own. */
export interface ProxyClock {
  now(): number;
  sleep(ms: number): Promise<void>;
}

const realClock: ProxyClock = {
  now: () => performance.now(),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
};

/** What to do at an exact byte: see `TcpProxy.at`. */
export type Act = () => void;

interface Events {
  /** A connection was accepted. */
  connection: [];
  /** Bytes moved, came, or a connection ended: counters changed. */
  change: [];
}

export class TcpProxy extends EventEmitter<Events> {
  readonly #server: Server;
  readonly #target: { readonly host: string; readonly port: number };
  readonly clock: ProxyClock;
  readonly #connections = new Set<Connection>();
  readonly #links: Record<Direction, Link> = { up: SOUND, down: SOUND };
  readonly #passed: Record<Direction, number> = { up: 0, down: 0 };
  #marks: { readonly direction: Direction; readonly bytes: number; readonly act: Act }[] = [];
  /** "cut": refuses. "silent": accepts and swallows. */
  #mode: "open" | "cut" | "silent" = "open";
  /** Connections accepted since the beginning, those that were refused at once not counted. */
  accepted = 0;

  private constructor(target: { readonly host: string; readonly port: number }, clock: ProxyClock) {
    super();
    this.setMaxListeners(0);
    this.#target = target;
    this.clock = clock;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => this.#accept(socket));
  }

  /** Listens on 127.0.0.1, on a port of its own or the one given, and leads to `target`. */
  static async listen(
    target: { readonly host?: string; readonly port: number },
    options: { readonly port?: number; readonly clock?: ProxyClock } = {},
  ): Promise<TcpProxy> {
    const proxy = new TcpProxy({ host: target.host ?? "127.0.0.1", port: target.port }, options.clock ?? realClock);
    proxy.#server.listen(options.port ?? 0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Connections that stand now, silent ones included. */
  get open(): number {
    return this.#connections.size;
  }

  /** Bytes handed on in a direction since the beginning, over all connections. */
  passed(direction: Direction): number {
    return this.#passed[direction];
  }

  /** Bytes that were read and wait. */
  held(direction: Direction): number {
    return [...this.#connections].reduce((sum, connection) => sum + connection.held(direction), 0);
  }

  link(direction: Direction): Link {
    return this.#links[direction];
  }

  /** Changes a link in one direction, or in both. */
  set(change: Partial<Link>, direction?: Direction): void {
    for (const each of direction === undefined ? (["up", "down"] as const) : [direction]) {
      this.#links[each] = { ...this.#links[each], ...change };
    }
    this.emit("change");
  }

  /** Bytes wait until `restore`, or `set({ stalled: false })`. */
  stall(direction?: Direction): void {
    this.set({ stalled: true }, direction);
  }

  /** Ends every connection with RST at both ends. New ones are served. */
  reset(): void {
    for (const connection of [...this.#connections]) connection.reset();
  }

  /** Ends every connection with RST, and every new one at once, until `restore`. */
  cut(): void {
    this.#mode = "cut";
    this.reset();
  }

  /**
   * As if the cable were pulled: connections stand at both ends and nothing comes through, no FIN and no RST. New
   * connections are accepted and lead nowhere. What was on its way is lost, so `restore` ends these with RST.
   */
  silence(): void {
    this.#mode = "silent";
    for (const connection of this.#connections) connection.silence();
  }

  /**
   * Half-open: one end loses its connections, and the other is not told. "target": the process that was dialed sees
   * its connections end; the one that dialed goes on to believe in them.
   */
  forget(end: "dialer" | "target"): void {
    for (const connection of this.#connections) connection.forget(end);
  }

  /** Everything sound again. */
  restore(): void {
    this.#mode = "open";
    for (const direction of ["up", "down"] as const) this.#links[direction] = SOUND;
    for (const connection of [...this.#connections]) if (connection.silent) connection.reset();
    this.emit("change");
  }

  /**
   * Acts when exactly so many bytes (counted as `passed`) have been handed on in a direction, before one more is; for
   * faults at a chosen place of a transfer. Once.
   */
  at(direction: Direction, bytes: number, act: Act): void {
    if (bytes < this.passed(direction))
      throw new Error(`${this.passed(direction)} bytes have passed ${direction} already`);
    this.#marks = [...this.#marks, { direction, bytes, act }].sort((a, b) => a.bytes - b.bytes);
  }

  /** Resolves as soon as `holds` does; it is asked again after every change of the proxy's counters. */
  async until(holds: (proxy: this) => boolean): Promise<void> {
    while (!holds(this)) await once(this, "change");
  }

  /** Ends everything. */
  async close(): Promise<void> {
    this.restore();
    this.reset();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await closed;
  }

  /** For connections: how many of `bytes` may go before a mark. */
  room(direction: Direction, bytes: number): number {
    const mark = this.#marks.find((each) => each.direction === direction);
    return mark === undefined ? bytes : Math.min(bytes, mark.bytes - this.passed(direction));
  }

  /** For connections. */
  count(direction: Direction, bytes: number): void {
    this.#passed[direction] += bytes;
    this.actAt(direction);
    this.emit("change");
  }

  /** For connections: whether a mark was reached, and its act done. */
  actAt(direction: Direction): boolean {
    const due = this.#marks.find((mark) => mark.direction === direction && mark.bytes <= this.passed(direction));
    if (due === undefined) return false;
    this.#marks = this.#marks.filter((mark) => mark !== due);
    due.act();
    return true;
  }

  #accept(dialer: Socket): void {
    if (this.#mode === "cut") {
      dialer.resetAndDestroy();
      return;
    }
    this.accepted++;
    const connection = new Connection(
      this,
      dialer,
      this.#mode === "silent" ? undefined : connect({ ...this.#target, allowHalfOpen: true }),
    );
    this.#connections.add(connection);
    void connection.ended.then(() => {
      this.#connections.delete(connection);
      this.emit("change");
    });
    if (this.#mode === "silent") connection.silence();
    this.emit("connection");
    this.emit("change");
  }
}

class Connection {
  readonly ended: Promise<void>;
  silent = false;
  readonly #sockets: Record<"dialer" | "target", Socket | undefined>;
  readonly #pumps: Record<Direction, Pump | undefined>;
  #end: () => void = () => undefined;

  constructor(proxy: TcpProxy, dialer: Socket, target: Socket | undefined) {
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#sockets = { dialer, target };
    this.#pumps = {
      up: target && new Pump(proxy, "up", dialer, target),
      down: target && new Pump(proxy, "down", target, dialer),
    };
    for (const socket of [dialer, target]) {
      // A reset, or nobody listening at the target: the other end is told the same way.
      socket?.on("error", () => this.#lost());
      socket?.on("close", () => this.#closed());
    }
  }

  held(direction: Direction): number {
    return this.#pumps[direction]?.heldBytes ?? 0;
  }

  reset(): void {
    this.silent = false;
    for (const pump of Object.values(this.#pumps)) pump?.stop();
    for (const socket of Object.values(this.#sockets)) socket?.resetAndDestroy();
    this.#end();
  }

  silence(): void {
    this.silent = true;
    for (const pump of Object.values(this.#pumps)) pump?.stop();
    // Read and forgotten: the sender believes that its bytes are on their way.
    for (const socket of Object.values(this.#sockets)) socket?.removeAllListeners("data").resume();
  }

  forget(end: "dialer" | "target"): void {
    this.silence();
    this.#sockets[end]?.resetAndDestroy();
  }

  #lost(): void {
    if (!this.silent) this.reset();
  }

  #closed(): void {
    const sockets = Object.values(this.#sockets).filter((socket) => socket !== undefined);
    if (sockets.every((socket) => socket.destroyed)) this.#end();
  }
}

/** One direction of one connection. */
class Pump {
  readonly #proxy: TcpProxy;
  readonly #direction: Direction;
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #queue: { bytes: Buffer; readonly dueMs: number }[] = [];
  heldBytes = 0;
  #stopped = false;
  #ended = false;
  #running = false;

  constructor(proxy: TcpProxy, direction: Direction, from: Socket, to: Socket) {
    this.#proxy = proxy;
    this.#direction = direction;
    this.#from = from;
    this.#to = to;
    from.on("data", (bytes: Buffer) => this.#take(bytes));
    from.on("end", () => {
      this.#ended = true;
      this.#start();
    });
    from.resume();
  }

  stop(): void {
    this.#stopped = true;
    this.#queue.length = 0;
    this.heldBytes = 0;
  }

  #take(bytes: Buffer): void {
    if (this.#stopped) return;
    this.#queue.push({ bytes, dueMs: this.#proxy.clock.now() + this.#proxy.link(this.#direction).delayMs });
    this.heldBytes += bytes.length;
    if (this.heldBytes >= HELD_BYTES) this.#from.pause();
    this.#proxy.emit("change");
    this.#start();
  }

  #start(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#run().finally(() => {
      this.#running = false;
    });
  }

  async #run(): Promise<void> {
    for (let next = this.#queue[0]; !this.#stopped && next !== undefined; next = this.#queue[0]) {
      const waitMs = next.dueMs - this.#proxy.clock.now();
      if (waitMs > 0) await this.#proxy.clock.sleep(waitMs);
      else if (this.#proxy.link(this.#direction).stalled) await once(this.#proxy, "change");
      else if (!this.#proxy.actAt(this.#direction)) await this.#handOn(next);
    }
    if (this.#ended && !this.#stopped) this.#to.end();
  }

  async #handOn(next: { bytes: Buffer }): Promise<void> {
    const { bytesPerSecond } = this.#proxy.link(this.#direction);
    // A slow link gives a tenth of a second's bytes at a time, and one at least.
    const most = Number.isFinite(bytesPerSecond) ? Math.max(1, Math.floor(bytesPerSecond / 10)) : next.bytes.length;
    const size = this.#proxy.room(this.#direction, Math.min(most, next.bytes.length));
    const piece = next.bytes.subarray(0, size);
    next.bytes = next.bytes.subarray(size);
    if (next.bytes.length === 0) this.#queue.shift();
    this.heldBytes -= size;
    const flows = this.#to.write(piece);
    this.#proxy.count(this.#direction, size);
    if (this.heldBytes < HELD_BYTES && !this.#stopped) this.#from.resume();
    if (!flows && !this.#to.destroyed)
      await Promise.race([once(this.#to, "drain"), once(this.#to, "close")]).catch(() => undefined);
    if (Number.isFinite(bytesPerSecond)) await this.#proxy.clock.sleep((size * 1000) / bytesPerSecond);
  }
}
