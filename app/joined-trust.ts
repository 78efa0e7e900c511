import { homedir } from "node:os";
import { join, joinedFiles, keepRenewed, renew } from "../enrollment/index.ts";
import { failureFrom } from "../merge/work/index.ts";
import { type Files, type Place, placeOf, type Source } from "../storage/index.ts";
import {
  type Address,
  CertificateStore,
  channelCredentials,
  loadCredentials,
  parseAddress,
  parseFingerprint,
  Secret,
  TrustError,
  type TrustFiles,
} from "../trust/index.ts";
import { delay, systemTimers, type Timers } from "../wire/index.ts";
import type { JoiningSettings } from "./settings.ts";

/** Between tries to join a coordinator that is not there, and between lines in the log that say so. */
const AGAIN_MS = 2_000;
const SAY_MS = 10_000;

/** What is logged of joining and renewal; no secret is in it. */
export type TellJoined = (fields: Readonly<Record<string, unknown>>, message: string) => void;

export interface JoinedTrust {
  /** For every connection; the files change at each renewal. */
  readonly files: TrustFiles;
  /** Ends the renewal. */
  close(): void;
}

/**
 * For a worker that joins with a token, or did so before: certificates in its own folder, renewed as long as it runs.
 * Undefined where neither is the case. A token that is given although there is a good certificate is not used: the same
 * command line starts the worker again.
 * @throws TrustError, CallError
 */
export async function openJoinedTrust(
  store: Files,
  coordinator: string,
  options: JoiningSettings,
  wishedName: string,
  tell: TellJoined,
): Promise<JoinedTrust | undefined> {
  const directory = identityDirectory(options);
  const files = joinedFiles(directory);
  const address = parseAddress(coordinator);
  // The fingerprint alone: the token has been used, and is no longer given.
  const ways = [options.join, options.caSha256, options.identityDir];
  if (ways.every((given) => given === undefined)) return undefined;
  if (!(await isGood(store, files))) {
    if (options.join === undefined) {
      throw new TrustError("trust/option", `there is no certificate in ${directory} that is good now`, {
        hint: "Join with --join TOKEN and --ca-sha256, of `deltaworks token create`.",
      });
    }
    await store.makeDirectory(directory);
    const wish = {
      address: joinAddress(address, options.joinAddress),
      authoritySha256: fingerprint(options.caSha256),
      token: new Secret(options.join),
      name: wishedName,
    };
    await untilAnswered(() => join(store, files, wish), tell);
    tell({ directory }, "joined");
  }
  const certificates = await CertificateStore.open(store, files, {
    onRejected: (error) => tell({ error: String(error) }, "certificate files cannot be used"),
  });
  const credentials = channelCredentials(certificates, { role: "coordinator", host: address.host });
  const end = keepRenewed({
    current: () => certificates.current.identity,
    renew: async () => {
      await renew(store, files, address, credentials);
      await certificates.reload();
      tell({ until: new Date(certificates.current.identity.notAfterMs).toISOString() }, "certificate renewed");
    },
    onFailure: (error) => tell({ error: String(error) }, "certificate not renewed yet"),
  });
  return {
    files,
    close: () => {
      end();
      certificates.close();
    },
  };
}

/** A coordinator that is not there yet is waited for, as by a worker that has a certificate; what it refuses is refused. */
async function untilAnswered(
  call: () => Promise<void>,
  tell: TellJoined,
  timers: Timers = systemTimers,
): Promise<void> {
  let saidMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const { code, message, retryable } = failureFrom(error);
      if (!retryable) throw error;
      if (timers.nowMs() - saidMs >= SAY_MS) {
        saidMs = timers.nowMs();
        tell({ code, message }, "not joined yet");
      }
      await delay(timers, AGAIN_MS);
    }
  }
}

/** systemd gives services a state directory of their own. */
function identityDirectory({ identityDir }: JoiningSettings): Place {
  return placeOf(identityDir ?? process.env.STATE_DIRECTORY ?? `${homedir()}/.local/state/deltaworks`);
}

/** The join port is the next one, unless it is said. */
function joinAddress({ host, port }: Address, given: string | undefined): Address {
  return given === undefined ? { host, port: port + 1 } : parseAddress(given);
}

function fingerprint(given: string | undefined): string {
  if (given !== undefined) return parseFingerprint(given);
  throw new TrustError("trust/option", "a token alone is not enough: --ca-sha256 is missing", {
    hint: "It says whom the token may be given to. `deltaworks token create` prints it.",
  });
}

async function isGood(store: Source, files: TrustFiles): Promise<boolean> {
  if ((await store.identity(files.certificate)) === undefined) return false;
  try {
    await loadCredentials(store, files, Date.now());
    return true;
  } catch (error) {
    // What is expired is replaced; what is damaged, or not ours, a person should see.
    if (error instanceof TrustError && error.code === "trust/expired") return false;
    throw error;
  }
}
