import type { Client } from "@grpc/grpc-js";
import type { AttemptKey } from "../../merge/work/index.ts";
import { CoordinatorService } from "../../proto/index.ts";
import { isNotFound, type Place, type SignedObjects } from "../../storage/index.ts";
import { bytesOfHex, messageOfAttempt, type Timers } from "../../wire/index.ts";
import { persist, unary } from "../transfer/index.ts";

/** An address is made without asking anybody, but where a slot has to be opened again, which reads it. */
const DEADLINE_MS = 120_000;
const BACKOFF = { firstMs: 200, mostMs: 2_000 };
const PATIENCE_MS = 120_000;
/** A slot that was closed is opened again once; others may do so at the same time. */
const TRIES = 3;

export interface PartOfSlot {
  readonly id: AttemptKey;
  readonly slot: Place;
  readonly bytes: Uint8Array;
  /** Of the bytes, hex; as the grant was asked for. */
  readonly sha256: string;
}

/**
 * Puts a granted slice into its slot by addresses that the coordinator signs for it. Late bytes do no harm: they are those that were granted, and
 * an address ends with the lease. False: `mayGoOn` said no.
 * @throws StorageError; ServiceError; WorkerError
 */
export async function putPart(
  objects: SignedObjects,
  client: () => Client,
  { id, slot, bytes, sha256 }: PartOfSlot,
  { mayGoOn, timers }: { readonly mayGoOn: () => boolean; readonly timers: Timers },
): Promise<boolean> {
  for (let tries = 1; ; tries++) {
    if (!mayGoOn()) return false;
    const request = { id: messageOfAttempt(id), sha256: bytesOfHex(sha256), isGone: tries > 1 };
    const until = { ...BACKOFF, timers, untilMs: timers.nowMs() + PATIENCE_MS, mayGoOn };
    try {
      await objects.putPart(
        slot,
        () => persist(() => unary(client(), CoordinatorService.signPart, request, DEADLINE_MS), until),
        bytes,
      );
      return true;
    } catch (error) {
      if (!mayGoOn()) return false;
      if (!isNotFound(error) || tries === TRIES) throw error;
    }
  }
}
