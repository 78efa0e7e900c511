/** Element types of safetensors. Names as in the header. */
export type FloatDtype = "F64" | "F32" | "F16" | "BF16" | "F8_E4M3" | "F8_E5M2";
export type IntegerDtype = "I64" | "I32" | "I16" | "I8" | "U64" | "U32" | "U16" | "U8" | "BOOL";
export type Dtype = FloatDtype | IntegerDtype;

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

const floats: ReadonlySet<string> = new Set<FloatDtype>(["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"]);

export function isDtype(name: string): name is Dtype {
  return Object.hasOwn(dtypeBytes, name);
}

/** Integer and BOOL tensors are copied, never merged. */
export function isFloatDtype(dtype: Dtype): dtype is FloatDtype {
  return floats.has(dtype);
}
