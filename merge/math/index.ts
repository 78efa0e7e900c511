export { exp, log } from "./exponential.ts";
export {
  bf16FromF32,
  e4m3FromF32,
  e5m2FromF32,
  f16FromF32,
  f32FromBf16,
  f32FromE4m3,
  f32FromE5m2,
  f32FromF16,
} from "./float-formats.ts";
export { type Matrix, multiplied, orthogonalised, transposed, zeros } from "./orthogonal.ts";
export {
  fnv1a64,
  type Halves,
  type PhiloxCounter,
  type PhiloxKey,
  parseSeed,
  philox4x32,
  randomThreshold,
  randomWord,
  rankedThresholds,
} from "./random.ts";
export { lowRankProduct, type SingularValues, singularValues } from "./singular-values.ts";
export { acos, cos, sin } from "./trigonometry.ts";
export { type StoredFormat, widenedToF32 } from "./widened.ts";
