import { setTimeout as sleep } from "node:timers/promises";
import type { Address, Arena, Device, DeviceLimits, Kernels, Scope, Staging } from "../../merge/engines/index.ts";

/** What lies in fresh memory, and in staged bytes that were sent: nobody may take it for zeros, or for what was there. */
const GARBAGE = 0x6b;
/** Memory within is taken in steps, but of `wasm` at once: it leaves gaps between what it gives, and takes no memory before it is used. */
const STEP_BYTES = 1 << 20;
/** Of an arena of `wasm` that are its own. */
const RESERVED_BYTES = 1 << 20;

export interface AsynchronousOptions {
  /** Between a submission and its beginning. */
  readonly latencyMs?: number;
  readonly limits?: Partial<DeviceLimits>;
  readonly runs?: Device["runs"];
}

/** What a device has been asked for. */
export interface Asked {
  /** Submissions whose results somebody waited for. */
  waits: number;
  submissions: number;
  kernels: number;
  /** Arenas that had something under way at once, at most. */
  atOnce: number;
}

/**
 * A device with memory of its own that computes by itself, as graphics processors do: what is called is queued, and begins some time after
 * it was submitted, in the order of its arena. Kernels and bits are those of the device within.
 */
export class AsynchronousDevice implements Device {
  readonly name: string;
  readonly kernelId: string;
  readonly limits: DeviceLimits;
  readonly asked: Asked = { waits: 0, submissions: 0, kernels: 0, atOnce: 0 };
  readonly #inner: Device;
  readonly #options: AsynchronousOptions;
  #busy = 0;

  constructor(inner: Device, options: AsynchronousOptions = {}) {
    this.#inner = inner;
    this.#options = options;
    this.name = `asynchronous ${inner.name}`;
    this.kernelId = inner.kernelId;
    this.limits = {
      // Whole blocks of chunks of this length have 4 M elements at least.
      pieceElements: 2 ** 23,
      asynchronous: true,
      road: "histogram",
      arenas: 3,
      threadsMax: 1,
      ...options.limits,
    };
  }

  runs(task: Parameters<Device["runs"]>[0]): boolean {
    return this.#options.runs?.(task) ?? true;
  }

  open(maximumBytes: number): Arena {
    const latencyMs = this.#options.latencyMs ?? 1;
    const stepBytes = this.#inner.name === "wasm" ? maximumBytes - RESERVED_BYTES : STEP_BYTES;
    return new AsynchronousArena(this, this.#inner.open(maximumBytes), latencyMs, stepBytes, (change) => {
      this.#busy += change;
      this.asked.atOnce = Math.max(this.asked.atOnce, this.#busy);
    });
  }

  close(): void {
    this.#inner.close();
  }
}

class AsynchronousArena implements Arena {
  readonly device: AsynchronousDevice;
  readonly kernels: Kernels;
  readonly #inner: Arena;
  readonly #latencyMs: number;
  readonly #busy: (change: 1 | -1) => void;
  readonly #stepBytes: number;
  #top: Address;
  #end: Address;
  #queued: (() => void | Promise<void>)[] = [];
  /** Whether somebody waits for what is queued. */
  #isAwaited = false;
  #submitted: Promise<void> = Promise.resolve();

  constructor(
    device: AsynchronousDevice,
    inner: Arena,
    latencyMs: number,
    stepBytes: number,
    busy: (change: 1 | -1) => void,
  ) {
    this.device = device;
    this.#inner = inner;
    this.#latencyMs = latencyMs;
    this.#busy = busy;
    this.#stepBytes = stepBytes;
    this.#top = inner.allocate(this.#stepBytes);
    this.#end = this.#top + this.#stepBytes;
    this.kernels = new Proxy(inner.kernels, {
      get:
        (kernels, name: keyof Kernels) =>
        (...values: never[]) => {
          device.asked.kernels++;
          this.#queued.push(() => (kernels[name] as (...values: never[]) => void)(...values));
        },
    });
  }

  allocate(sizeBytes: number): Address {
    const address = Math.ceil(this.#top / 64) * 64;
    if (address + sizeBytes > this.#end) {
      const more = Math.max(this.#stepBytes, Math.ceil((address + sizeBytes - this.#end) / 64) * 64);
      const start = this.#inner.allocate(more);
      if (start !== this.#end) throw new Error(`${this.device.name} has no bytes beyond ${this.#end}`);
      this.#end += more;
    }
    this.#top = address + sizeBytes;
    this.#queued.push(() => {
      this.#inner.staging(address, sizeBytes).bytes.fill(GARBAGE);
    });
    return address;
  }

  scope(): Scope {
    const top = this.#top;
    return {
      end: () => {
        this.#top = top;
      },
    };
  }

  staging(address: Address, sizeBytes: number): Staging {
    const bytes = new Uint8Array(sizeBytes).fill(GARBAGE);
    return {
      bytes,
      send: () => {
        const sent = bytes.slice();
        bytes.fill(GARBAGE);
        this.#queued.push(() => {
          const staging = this.#inner.staging(address, sizeBytes);
          staging.bytes.set(sent);
          staging.send();
        });
      },
    };
  }

  download(address: Address, sizeBytes: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.#queued.push(async () => {
        await this.#inner.download(address, sizeBytes).then((bytes) => resolve(bytes.slice()), reject);
      });
      if (this.#isAwaited) return;
      // What is asked for in the same breath is one submission.
      this.#isAwaited = true;
      setImmediate(() => this.#submit());
    });
  }

  rankScratchBytes(rowLength: number): number {
    return this.#inner.rankScratchBytes(rowLength);
  }

  #submit(): void {
    const commands = this.#queued;
    this.#queued = [];
    this.#isAwaited = false;
    this.device.asked.submissions++;
    this.device.asked.waits++;
    this.#busy(1);
    this.#submitted = this.#submitted
      .then(() => sleep(this.#latencyMs))
      .then(async () => {
        for (const command of commands) await command();
        this.#busy(-1);
      });
  }
}
