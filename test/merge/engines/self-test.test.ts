import { expect, test } from "vitest";
import { type Arena, type Device, type Kernels, openDevice } from "../../../merge/engines/index.ts";
import { checkBits, testedKernels } from "../../../merge/engines/self-test.ts";

// A device that computes otherwise is found out before work.

const reference = await openDevice("reference");
const open = async () => reference;

test("every kernel is tried", async () => {
  expect([...testedKernels()].sort()).toEqual(Object.keys(reference.open(1 << 20).kernels).sort());
});

test("a device with the right bits passes", async () => {
  await checkBits(await openDevice("wasm"), () => {
    throw new Error("its bits need not be compared one by one");
  });
  await checkBits(reference, () => {
    throw new Error("the digest of what is right is an old one");
  });
});

/** `reference`, but for one kernel. */
function altered(alter: (kernels: Kernels, arena: Arena) => Partial<Kernels>): Device {
  return {
    ...{ name: "altered", kernelId: "altered", limits: reference.limits },
    runs: () => true,
    close: () => {},
    open: (maximumBytes) => {
      const arena = reference.open(maximumBytes);
      return {
        device: reference,
        kernels: { ...arena.kernels, ...alter(arena.kernels, arena) },
        allocate: (sizeBytes) => arena.allocate(sizeBytes),
        scope: () => arena.scope(),
        staging: (address, sizeBytes) => arena.staging(address, sizeBytes),
        download: (address, sizeBytes) => arena.download(address, sizeBytes),
        rankScratchBytes: (rowLength) => arena.rankScratchBytes(rowLength),
      };
    },
  };
}

const f32 = (arena: Arena, address: number, n: number) => {
  const { bytes } = arena.staging(address, 4 * n);
  return new Float32Array(bytes.buffer, bytes.byteOffset, n);
};

test("fused multiplication and addition are found", async () => {
  const device = altered((kernels, arena) => ({
    accumulate: (acc, x, dtype, c, first, n) => {
      if (dtype !== "F32" || first) return kernels.accumulate(acc, x, dtype, c, first, n);
      const [sums, values] = [f32(arena, acc, n), f32(arena, x, n)];
      for (let k = 0; k < n; k++) sums[k] = sums[k]! + Math.fround(c) * values[k]!;
    },
  }));
  await expect(checkBits(device, open)).rejects.toMatchObject({
    code: "engine/other-bits",
    message: expect.stringMatching(/^The engine altered computes other bits .* its kernel accumulate leaves 0x/),
  });
});

test("subnormals that become zero are found", async () => {
  const device = altered((kernels, arena) => ({
    delta: (d, model, dtype, base, n) => {
      kernels.delta(d, model, dtype, base, n);
      const values = f32(arena, d, n);
      for (let k = 0; k < n; k++) if (Math.abs(values[k]!) < 2 ** -126) values[k] = 0;
    },
  }));
  await expect(checkBits(device, open)).rejects.toMatchObject({ code: "engine/other-bits" });
});

test("sums in another order are found", async () => {
  const device = altered((kernels, arena) => ({
    foldLanes: (sums, lanes, count) => {
      const { bytes } = arena.staging(lanes, 64 * count);
      const values = new Float64Array(bytes.buffer, bytes.byteOffset, 8 * count);
      for (let j = 0; j < count; j++) values.subarray(8 * j, 8 * j + 8).reverse();
      kernels.foldLanes(sums, lanes, count);
    },
    dot: (lanes, a, b, blockElements, n) => {
      for (let k = n - 8; k >= 0; k -= 8) kernels.dot(lanes, a + 4 * k, b + 4 * k, blockElements, 8);
    },
  }));
  await expect(checkBits(device, open)).rejects.toMatchObject({ code: "engine/other-bits" });
});
