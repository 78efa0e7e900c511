export { type ByteRange, CHUNK_BYTES, copyRange, type FileHash, hashFile, hashRanges } from "./read-back.ts";
export {
  damagedSlices,
  headerSha256,
  SEAL_GROUP_BYTES,
  type SealDamage,
  type SealUnit,
  sealWork,
} from "./seal-work.ts";
