import { StorageError } from "../errors.ts";
import type { Place } from "../place.ts";
import type { FileIdentity, Readable, SignedAddress } from "../port.ts";
import { meaningOf } from "../s3/s3-buckets.ts";
import { answerError } from "./http-errors.ts";
import { HttpFile, openHttpFile, stateOf } from "./http-file.ts";
import type { HttpRanges } from "./http-ranges.ts";
import { type EndingAddress, RenewedAddress } from "./renewed-address.ts";
import { signedUntilMs } from "./signed-until.ts";
import type { HttpTarget } from "./target.ts";

/** Gives an address, at first and again where the one before has ended. */
export type AskForAddress = () => Promise<SignedAddress>;

const ANSWER_MAX_BYTES = 64 * 2 ** 10;

/**
 * Objects that others sign for: read and put by addresses that stand for keys which this process does not have. The addresses are secrets;
 * errors name the object's place and the host.
 */
export class SignedObjects {
  readonly #ranges: HttpRanges;

  constructor(ranges: HttpRanges) {
    this.#ranges = ranges;
  }

  /**
   * `known`: the state that is meant, of which each range is asked for; nothing is asked then until something is read. Absent: what is there now.
   * @throws StorageError, as any source
   */
  async open(place: Place, ask: AskForAddress, known?: Pick<FileIdentity, "sizeBytes" | "version">): Promise<Readable> {
    const ranges = this.#ranges;
    const target = targetOf(place, ask);
    if (known === undefined) return openHttpFile(ranges, target, 0);
    const identity: FileIdentity = { kind: "file", sizeBytes: known.sizeBytes, version: known.version };
    return new HttpFile({ ranges, place, target: { ...target, state: stateOf(known) }, identity, hasRanges: true });
  }

  /**
   * Puts the bytes that an address was signed for. Durable once it resolves.
   * @throws StorageError `storage/not-found` where the upload is not there (any more); `storage/hash` where the store has other bytes come
   */
  async putPart(place: Place, ask: AskForAddress, bytes: Uint8Array): Promise<void> {
    const ranges = this.#ranges;
    const target = targetOf(place, ask);
    const action = "put a part of";
    const answer = await ranges.request(target, { method: "PUT", body: bytes, limitBytes: ANSWER_MAX_BYTES, action });
    if (answer.status === 200) return;
    throw answerError(target, action, (await target.address()).url, answer);
  }

  close(): void {
    this.#ranges.close();
  }
}

function targetOf(place: Place, ask: AskForAddress): HttpTarget {
  const now = new RenewedAddress(async () => endingOf(place, await ask()));
  return { place, address: (refused) => now.address(refused), meaningOf };
}

function endingOf(place: Place, { url: text, headers }: SignedAddress): EndingAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === "https:" || url?.protocol === "http:")
    return { address: { url, headers }, untilMs: signedUntilMs(url, Date.now()) };
  throw new StorageError("storage/network", `cannot reach ${place}: what was signed for it is no address`, {
    hint: "The coordinator's release does not fit this one's.",
  });
}
