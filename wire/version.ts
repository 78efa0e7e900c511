import { WireError } from "./errors.ts";

/** Of the contract in proto/. Raised when an older end could not do what a newer one relies on. */
export const PROTOCOL_VERSION = 4;
/**
 * The oldest version that this release still speaks. Summaries of surveys and requests were others in version 1; in version 2 grants and
 * reports were calls of their own; in version 3 a worker took any answer to its heartbeat for a renewal.
 */
export const PROTOCOL_VERSION_MIN = 4;

/** Whose versions are compared, for the sentence that says which side to upgrade. */
export interface Side {
  /** "worker" or "coordinator". */
  readonly role: string;
  readonly protocolVersion: number;
  readonly softwareVersion: string;
}

/** @throws WireError `wire/other-version` */
export function checkVersions(own: Side, other: Side): void {
  if (other.protocolVersion >= PROTOCOL_VERSION_MIN && other.protocolVersion <= own.protocolVersion) return;
  const older = other.protocolVersion < own.protocolVersion ? other : own;
  throw new WireError(
    "wire/other-version",
    `the ${other.role} speaks version ${other.protocolVersion} (deltaworks ${other.softwareVersion}), the ${own.role} versions ` +
      `${PROTOCOL_VERSION_MIN} to ${own.protocolVersion} (deltaworks ${own.softwareVersion}): upgrade the ${older.role}`,
    { hint: `Install the newer release on the ${older.role}; the other end can stay.` },
  );
}
