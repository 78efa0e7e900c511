import { expect, test } from "vitest";
import { hostF32 } from "../../../runtime/sources/host-values.ts";
import { FLOAT_DTYPES } from "../../merge/engines/awkward-values.ts";
import { StoredTensors } from "./stored-tensors.ts";

const values = [1, -0, 2 ** -9, 448, -1.5];

test.each(FLOAT_DTYPES)("%s that is stored is widened on the host, without the device", async (dtype) => {
  const tensors = new StoredTensors([{ name: "w", dtype, shape: [5], values }]);
  const reader = await tensors.reader([]);
  let calls = 0;
  const counted = <T extends object>(object: T): T =>
    new Proxy(object, {
      get: (target, name) => {
        calls++;
        return Reflect.get(target, name) as unknown;
      },
    });
  Object.assign(reader, { arena: counted(reader.arena) });
  expect([...(await hostF32(reader, tensors.source("w"), 1, 4))]).toEqual(values.slice(1));
  expect([reader.files.bytesRead > 0, calls]).toEqual([true, 0]);
});

test("what is no number is named, with its place in the tensor", async () => {
  const tensors = new StoredTensors([{ name: "w", dtype: "F64", shape: [4], values: [1, 2, 1e300, 4] }]);
  const reader = await tensors.reader([]);
  await expect(hostF32(reader, tensors.source("w"), 1, 3)).rejects.toThrow("model: w holds infinity at element 2");
  reader.check = false;
  expect([...(await hostF32(reader, tensors.source("w"), 1, 3))]).toEqual([2, Number.POSITIVE_INFINITY, 4]);
});

test("elements that other sources share are read once", async () => {
  const tensors = new StoredTensors([{ name: "w", dtype: "F16", shape: [4], values: [1, 2, 3, 4] }]);
  const source = tensors.source("w");
  const reader = await tensors.reader([source, { ...source }]);
  for (const _ of [1, 2]) expect([...(await hostF32(reader, source, 0, 4))]).toEqual([1, 2, 3, 4]);
  expect(reader.files.bytesRead).toBe(8);
});
