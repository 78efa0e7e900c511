import type { Arena, Device } from "../../merge/engines/index.ts";

/**
 * A device as one that computes by itself: memory is not the host's, what is staged arrives when it is sent and what is downloaded is a copy.
 * `downloads` counts what was asked for.
 */
export class AsynchronousDevice implements Device {
  readonly name: string;
  readonly kernelId: string;
  readonly limits: Device["limits"];
  downloads = 0;
  readonly #device: Device;

  constructor(device: Device, pieceElements = 2 ** 22) {
    this.#device = device;
    this.name = device.name;
    this.kernelId = device.kernelId;
    this.limits = { ...device.limits, asynchronous: true, pieceElements };
  }

  runs: Device["runs"] = (task) => this.#device.runs(task);

  open(maximumBytes: number): Arena {
    const arena = this.#device.open(maximumBytes);
    return {
      device: this,
      kernels: arena.kernels,
      allocate: (sizeBytes) => arena.allocate(sizeBytes),
      scope: () => arena.scope(),
      staging: (address, sizeBytes) => {
        const bytes = new Uint8Array(sizeBytes);
        return { bytes, send: () => arena.staging(address, sizeBytes).bytes.set(bytes) };
      },
      download: async (address, sizeBytes) => {
        this.downloads++;
        return (await arena.download(address, sizeBytes)).slice();
      },
      rankScratchBytes: (rowLength) => arena.rankScratchBytes(rowLength),
    };
  }

  close(): void {
    this.#device.close();
  }
}
