export { boundedSource } from "./bounded-source.ts";
export { checkFolder } from "./check-folder.ts";
export { makeDurableDirectory } from "./durable-directory.ts";
export { hashDiffers, type StorageCode, StorageError } from "./errors.ts";
export { fenced, fencedObjects } from "./fenced.ts";
export { FileStore } from "./file/file-store.ts";
export { fileVersion } from "./file/file-version.ts";
export { freeBytes } from "./file/free-bytes.ts";
export { linkless } from "./file/linkless-store.ts";
export { makeUnnamedFile, type UnnamedFile, unnamedFileAt } from "./file/unnamed-file.ts";
export { foundOnce } from "./found-once.ts";
export type { AskForAddress, SignedObjects } from "./http/signed-objects.ts";
export { type CacheFilling, fillHubCache } from "./hub/fill-hub-cache.ts";
export type { HubEntry } from "./hub/hub-api.ts";
export {
  hubPlaceOf,
  isCommit,
  isHubId,
  isHubPlace,
  isHubRevision,
  maybePinnedHubPlace,
  parseHubPlace,
} from "./hub/hub-place.ts";
export type { HubCandidate, HubCommit, HubCommitted, HubRepository } from "./hub/hub-repository.ts";
export { isHubOffline } from "./hub/hub-settings.ts";
export type { LargeFile } from "./hub/lfs.ts";
export { openHubRepository } from "./hub/open-hub-repository.ts";
export { ifThere, isNotFound, isTaken } from "./if-there.ts";
export { inParallel } from "./in-parallel.ts";
export { openSignedObjects } from "./open-signed-objects.ts";
export {
  isBelow,
  isWhole,
  join,
  maybePlaceOf,
  maybePlaceOfAddress,
  nameOf,
  namesBelow,
  type Place,
  parentOf,
  placeFrom,
  placeOf,
  schemeOf,
  wholePlace,
  withoutLastSlash,
} from "./place.ts";
export type {
  BegunUpload,
  CopiedRange,
  DirectoryEntry,
  FileIdentity,
  Files,
  Lock,
  LockOptions,
  Objects,
  PartToPut,
  PutCondition,
  Readable,
  ReadOptions,
  SignedAddress,
  Signing,
  Source,
  StoredFile,
  UploadId,
  UploadPart,
  Version,
  WriteOptions,
} from "./port.ts";
export { PART_MIN_BYTES } from "./port.ts";
export { type Openers, openStores, Stores } from "./stores.ts";
export { Turns } from "./turns.ts";
export { maybeSlotOf, recordOf, type SlotPart, type SlotShape, UploadSlots } from "./upload-slots.ts";
export { readIfShort, readWhole, readWithVersion, writeWhole } from "./whole.ts";
