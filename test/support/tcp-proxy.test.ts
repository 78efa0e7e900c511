import { createHash } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { type ProxyClock, TcpProxy } from "./tcp-proxy.ts";

/** A clock that stands until it is moved. */
class StandingClock implements ProxyClock {
  #nowMs = 0;
  #sleepers: { readonly untilMs: number; readonly wake: () => void }[] = [];

  now(): number {
    return this.#nowMs;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((wake) => this.#sleepers.push({ untilMs: this.#nowMs + ms, wake }));
  }

  get sleepers(): number {
    return this.#sleepers.length;
  }

  move(ms: number): void {
    this.#nowMs += ms;
    const due = this.#sleepers.filter(({ untilMs }) => untilMs <= this.#nowMs);
    this.#sleepers = this.#sleepers.filter((sleeper) => !due.includes(sleeper));
    for (const { wake } of due) wake();
  }
}

/** One end of a connection, with all that came. */
class End {
  readonly socket: Socket;
  text = "";
  outcome: "open" | "ended" | "reset" = "open";
  #waiting: (() => void)[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding("latin1").on("data", (text: string) => this.#change(() => (this.text += text)));
    socket.on("end", () => this.#change(() => (this.outcome = "ended")));
    // As a reset shows itself: to who reads, or to who writes.
    socket.on("error", ({ code }: NodeJS.ErrnoException) =>
      this.#change(() => (this.outcome = code === "ECONNRESET" || code === "EPIPE" ? "reset" : this.outcome)),
    );
  }

  has(text: string): Promise<void> {
    return this.#until(() => this.text === text);
  }

  is(outcome: "ended" | "reset"): Promise<void> {
    return this.#until(() => this.outcome === outcome);
  }

  #change(change: () => void): void {
    change();
    for (const again of this.#waiting.splice(0)) again();
  }

  async #until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}

let proxy: TcpProxy;
let clock: StandingClock;
let accepted: End[];
let onAccept: (() => void)[];

beforeEach(async () => {
  accepted = [];
  onAccept = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(new End(socket));
    for (const told of onAccept.splice(0)) told();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  clock = new StandingClock();
  proxy = await TcpProxy.listen({ port: (server.address() as AddressInfo).port }, { clock });
  onTestFinished(async () => {
    await proxy.close();
    for (const { socket } of accepted) socket.destroy();
    server.close();
  });
});

async function dial(): Promise<{ readonly near: End; readonly far: End }> {
  const arrives = new Promise<void>((resolve) => onAccept.push(resolve));
  const near = new End(connect({ port: proxy.port, host: "127.0.0.1", allowHalfOpen: true }));
  onTestFinished(() => {
    near.socket.destroy();
  });
  await arrives;
  return { near, far: accepted.at(-1)! };
}

describe("a sound link", () => {
  test("hands bytes on both ways, in order, whole", async () => {
    const { near, far } = await dial();
    const block = Buffer.alloc(1 << 20, "0123456789abcdef");
    for (let k = 0; k < 8; k++) near.socket.write(block);
    near.socket.end("!");
    await far.is("ended");
    expect(far.text.length).toBe(8 * (1 << 20) + 1);
    const sha256 = (text: string) => createHash("sha256").update(text, "latin1").digest("hex");
    expect(sha256(far.text)).toBe(sha256(`${String(block).repeat(8)}!`));
    // The other direction stands until it is ended too.
    far.socket.end("bye");
    await near.is("ended");
    expect(near.text).toBe("bye");
    await proxy.until(({ open }) => open === 0);
    expect(proxy.passed("down")).toBe(3);
  });

  test("a reset at one end is a reset at the other", async () => {
    const { near, far } = await dial();
    far.socket.resetAndDestroy();
    await near.is("reset");
    expect(proxy.open).toBe(0);
  });

  test("nobody at the target is a reset for who dials", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    const toNobody = await TcpProxy.listen({ port });
    const near = new End(connect(toNobody.port, "127.0.0.1"));
    await near.is("reset");
    await toNobody.close();
  });
});

describe("a stall", () => {
  test("holds bytes back in one direction only, and loses none", async () => {
    const { near, far } = await dial();
    proxy.stall("up");
    near.socket.write("held");
    far.socket.write("free");
    await near.has("free");
    await proxy.until((p) => p.held("up") === 4);
    expect(proxy.passed("up")).toBe(0);
    near.socket.end(" back");
    proxy.restore();
    await far.is("ended");
    expect(far.text).toBe("held back");
  });

  test("reaches back to the sender: the proxy does not read without end", async () => {
    const { near } = await dial();
    proxy.stall();
    // More than both sockets' buffers hold.
    const flows = near.socket.write(Buffer.alloc(32 << 20));
    expect(flows).toBe(false);
    await proxy.until((p) => p.held("up") >= 64 * 1024);
    expect(proxy.held("up")).toBeLessThan(1 << 20);
    expect(near.socket.writableLength).toBeGreaterThan(8 << 20);
  });
});

describe("time", () => {
  test("a delay holds every byte for so long, and keeps their order", async () => {
    const { near, far } = await dial();
    proxy.set({ delayMs: 100 }, "up");
    near.socket.write("one");
    await proxy.until((p) => p.held("up") === 3);
    clock.move(60);
    near.socket.write("two");
    await proxy.until((p) => p.held("up") === 6);
    clock.move(39);
    expect(proxy.passed("up")).toBe(0);
    clock.move(1);
    await far.has("one");
    expect(proxy.held("up")).toBe(3);
    clock.move(60);
    await far.has("onetwo");
  });

  test("a slow link gives so many bytes a second", async () => {
    const { near, far } = await dial();
    proxy.set({ bytesPerSecond: 1000 }, "up");
    near.socket.write("x".repeat(1000));
    for (let tenths = 1; tenths <= 10; tenths++) {
      await far.has("x".repeat(100 * tenths));
      while (clock.sleepers === 0) await new Promise(setImmediate);
      expect(proxy.passed("up")).toBe(100 * tenths);
      clock.move(100);
    }
    far.socket.write("y".repeat(10_000));
    await near.has("y".repeat(10_000));
  });
});

describe("links that break", () => {
  test("reset ends what stands, and serves what comes", async () => {
    const first = await dial();
    proxy.reset();
    await first.near.is("reset");
    await first.far.is("reset");
    const { near, far } = await dial();
    near.socket.write("again");
    await far.has("again");
  });

  test("cut ends what comes, too, until it is restored", async () => {
    const { near } = await dial();
    proxy.cut();
    await near.is("reset");
    const refused = new End(connect(proxy.port, "127.0.0.1"));
    await refused.is("reset");
    expect(accepted).toHaveLength(1);
    proxy.restore();
    const again = await dial();
    again.near.socket.write("again");
    await again.far.has("again");
  });

  test("silence: both ends believe in the connection, nothing comes through, not even its end", async () => {
    const { near, far } = await dial();
    near.socket.write("before");
    await far.has("before");
    proxy.silence();
    near.socket.write("lost");
    far.socket.end("lost as well");
    const late = new End(connect(proxy.port, "127.0.0.1"));
    await once(late.socket, "connect");
    await proxy.until(({ accepted }) => accepted === 2);
    // By the time that bytes have made the whole way elsewhere, they would have made it here.
    await roundTrip();
    expect([near.outcome, near.text, far.outcome, far.text]).toEqual(["open", "", "open", "before"]);
    expect(accepted).toHaveLength(1);
    proxy.restore();
    await near.is("reset");
    await far.is("reset");
    await late.is("reset");
    const again = await dial();
    again.near.socket.write("again");
    await again.far.has("again");
  });

  test.each(["target", "dialer"] as const)("half-open: the %s loses its end, the other is not told", async (end) => {
    const { near, far } = await dial();
    proxy.forget(end);
    const [told, untold] = end === "target" ? [far, near] : [near, far];
    await told.is("reset");
    untold.socket.write("into the void");
    await roundTrip();
    expect(untold.outcome).toBe("open");
    proxy.restore();
    await untold.is("reset");
  });

  async function roundTrip(): Promise<void> {
    const echo = createServer((socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
    await once(echo, "listening");
    const socket = connect((echo.address() as AddressInfo).port, "127.0.0.1");
    socket.write("x");
    await once(socket, "data");
    socket.destroy();
    echo.close();
  }
});

describe("faults at a byte", () => {
  test.each([0, 1, 70_000, 99_999])("exactly %i bytes pass before the act", async (bytes) => {
    const { near, far } = await dial();
    proxy.at("up", bytes, () => proxy.stall("up"));
    near.socket.write("z".repeat(100_000));
    await proxy.until((p) => p.link("up").stalled);
    expect(proxy.passed("up")).toBe(bytes);
    await far.has("z".repeat(bytes));
    proxy.restore();
    await far.has("z".repeat(100_000));
  });

  test("a reset at a byte leaves those before it", async () => {
    const { near, far } = await dial();
    near.socket.write("abc");
    await far.has("abc");
    proxy.at("up", 5, () => proxy.reset());
    near.socket.write("defgh");
    await near.is("reset");
    expect(proxy.passed("up")).toBe(5);
    expect(() => proxy.at("up", 4, () => undefined)).toThrow("5 bytes have passed up already");
  });
});
