/** Element types of safetensors. Names as in the header. */
export type FloatDtype = "F64" | "F32" | "F16" | "BF16" | "F8_E4M3" | "F8_E5M2";
export type IntegerDtype = "I64" | "I32" | "I16" | "I8" | "U64" | "U32" | "U16" | "U8" | "BOOL";
export type Dtype = FloatDtype | IntegerDtype;
/** Of which no numbers are made here: codes of MXFP4, NVFP4 and MXFP8 and their scales, fp8 without a zero of its own, complex numbers. */
export type OpaqueDtype = "F4" | "F6_E2M3" | "F6_E3M2" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" | "C64";
/** Of a tensor in a file. */
export type StoredDtype = Dtype | OpaqueDtype;

/** Bytes of one element. */
export const dtypeBytes: Readonly<Record<Dtype, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
};

/** Bits of one element: of some, several share a byte. */
const opaqueBits: Readonly<Record<OpaqueDtype, number>> = {
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  C64: 64,
};

export const storedDtypes: readonly StoredDtype[] = [
  ...Object.keys(dtypeBytes).filter(isDtype),
  ...Object.keys(opaqueBits).filter(isOpaqueDtype),
];

const floats: ReadonlySet<string> = new Set<FloatDtype>(["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"]);

export function isDtype(name: string): name is Dtype {
  return Object.hasOwn(dtypeBytes, name);
}

export function isOpaqueDtype(name: string): name is OpaqueDtype {
  return Object.hasOwn(opaqueBits, name);
}

/** Of one element. */
export function elementBits(dtype: StoredDtype): number {
  return isDtype(dtype) ? 8 * dtypeBytes[dtype] : opaqueBits[dtype];
}

/** Integer and BOOL tensors are copied, never merged. */
export function isFloatDtype(dtype: StoredDtype): dtype is FloatDtype {
  return floats.has(dtype);
}
