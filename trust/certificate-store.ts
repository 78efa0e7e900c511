import type { X509Certificate } from "node:crypto";
import type { experimental } from "@grpc/grpc-js";
import { type Place, readWhole, type Source } from "../storage/index.ts";
import { keyBelongsTo } from "./authority.ts";
import { TrustError } from "./errors.ts";
import { type CertifiedIdentity, checkTime, identityIn } from "./identity.ts";
import { PEM_BYTES_LIMIT, parseCertificates } from "./pem.ts";
import { Secret } from "./secrets/index.ts";

/** Paths of PEM files. Certificate and key may stand in one file. */
export interface TrustFiles {
  /** The own certificate first, then those of its authorities. */
  readonly certificate: Place;
  readonly key: Place;
  /** Certificates of the authorities that peers may come from. */
  readonly authority: Place;
}

/** What a process shows to its peers, and whom it believes. Read once, whole, and checked. */
export interface Credentials {
  readonly identity: CertifiedIdentity;
  /** PEM. */
  readonly chain: string;
  readonly key: Secret;
  /** PEM. */
  readonly authorities: string;
}

export interface WatchOptions {
  /** How often the files are looked at. Default 2 s. */
  readonly pollMs?: number;
  readonly now?: () => number;
  /** Told of every change that was taken over. */
  readonly onChange?: (credentials: Credentials) => void;
  /** Told of files that changed and cannot be used; what was loaded before stays in use. */
  readonly onRejected?: (error: unknown) => void;
}

const POLL_MS = 2000;

type CaListener = experimental.CaCertificateUpdateListener;
type IdentityListener = experimental.IdentityCertificateUpdateListener;

/**
 * Certificates in files, watched: when they change, new connections use the new ones, and connections that stand go on.
 * Files that were replaced by halves (the key, and not yet the certificate) are left alone until they fit.
 *
 * It is the certificate provider that grpc-js asks; see credentials.ts. The one of grpc-js itself, which watches files
 * too, drops what it had when a file is missing for a moment, and passes on a key that does not fit its certificate.
 */
export class CertificateStore implements experimental.CertificateProvider {
  readonly #store: Source;
  readonly #files: TrustFiles;
  readonly #options: WatchOptions;
  readonly #caListeners = new Set<CaListener>();
  readonly #identityListeners = new Set<IdentityListener>();
  #timer: NodeJS.Timeout | undefined;
  #current: Credentials;
  /** State of the files when they were last looked at. */
  #seen: string;

  private constructor(store: Source, files: TrustFiles, options: WatchOptions, seen: string, current: Credentials) {
    this.#store = store;
    this.#files = files;
    this.#options = options;
    this.#seen = seen;
    this.#current = current;
    const rejected = (error: unknown) => this.#options.onRejected?.(error);
    this.#timer = setInterval(() => {
      this.reload().catch(rejected);
    }, options.pollMs ?? POLL_MS);
    this.#timer.unref();
  }

  /** Reads the files and begins to watch them. @throws TrustError, StorageError for files that cannot be used */
  static async open(store: Source, files: TrustFiles, options: WatchOptions = {}): Promise<CertificateStore> {
    const seen = await stateOf(store, files);
    const credentials = await loadCredentials(store, files, (options.now ?? Date.now)());
    return new CertificateStore(store, files, options, seen, credentials);
  }

  get current(): Credentials {
    return this.#current;
  }

  /** Looks at the files now. Resolves with whether they had changed and are in use. Rejects with what a listener throws. */
  async reload(): Promise<boolean> {
    try {
      const seen = await stateOf(this.#store, this.#files);
      if (seen === this.#seen) return false;
      this.#current = await loadCredentials(this.#store, this.#files, (this.#options.now ?? Date.now)());
      // Only now: files that do not fit yet are tried again at the next look, also if nothing more is written.
      this.#seen = seen;
    } catch (error) {
      this.#options.onRejected?.(error);
      return false;
    }
    for (const listener of this.#caListeners) listener(this.#caUpdate());
    for (const listener of this.#identityListeners) listener(this.#identityUpdate());
    this.#options.onChange?.(this.#current);
    return true;
  }

  /** Ends the watch. Connections stay. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  // A listener is called in a later turn, as grpc-js does it: when it adds one its own side is not ready yet.
  addCaCertificateListener(listener: CaListener): void {
    this.#caListeners.add(listener);
    process.nextTick(() => this.#caListeners.has(listener) && listener(this.#caUpdate()));
  }

  removeCaCertificateListener(listener: CaListener): void {
    this.#caListeners.delete(listener);
  }

  addIdentityCertificateListener(listener: IdentityListener): void {
    this.#identityListeners.add(listener);
    process.nextTick(() => this.#identityListeners.has(listener) && listener(this.#identityUpdate()));
  }

  removeIdentityCertificateListener(listener: IdentityListener): void {
    this.#identityListeners.delete(listener);
  }

  #caUpdate() {
    return { caCertificate: Buffer.from(this.#current.authorities) };
  }

  #identityUpdate() {
    const { chain, key } = this.#current;
    return { certificate: Buffer.from(chain), privateKey: Buffer.from(key.reveal()) };
  }
}

/**
 * Reads and checks: the key is the certificate's, one of the authorities signed it, it names an identity, and it is valid now.
 * @throws TrustError `trust/pem`, `trust/key-mismatch`, `trust/wrong-authority`, `trust/identity`, `trust/expired`, `trust/not-yet-valid`
 * @throws StorageError
 */
export async function loadCredentials(store: Source, files: TrustFiles, nowMs: number): Promise<Credentials> {
  const text = async (path: Place) => Buffer.from(await readWhole(store, path, PEM_BYTES_LIMIT)).toString("utf8");
  const [chain, keyText, authorities] = await Promise.all([
    text(files.certificate),
    text(files.key),
    text(files.authority),
  ]);
  const key = new Secret(keyText);
  const [own] = parseCertificates(chain, files.certificate);
  if (own === undefined) throw new Error("a file of certificates without one was not refused");
  if (!keyBelongsTo(own, key)) {
    throw new TrustError(
      "trust/key-mismatch",
      `the key in ${files.key} is not that of the certificate in ${files.certificate}`,
      {
        hint: "Give the two files that were made together.",
      },
    );
  }
  if (!parseCertificates(authorities, files.authority).some((authority) => signedBy(own, authority))) {
    throw new TrustError(
      "trust/wrong-authority",
      `${files.certificate} was not issued by an authority in ${files.authority}`,
      {
        hint: "Give the ca.pem of the authority that issued the certificate.",
      },
    );
  }
  const identity = identityIn(own);
  checkTime(identity, nowMs);
  return { identity, chain, key, authorities };
}

function signedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  return authority.ca && certificate.verify(authority.publicKey);
}

/** Changes whenever one of the files does. */
async function stateOf(store: Source, files: TrustFiles): Promise<string> {
  const states = [files.certificate, files.key, files.authority].map(async (path) => {
    const identity = await store.identity(path);
    return identity === undefined ? "nothing" : `${identity.sizeBytes} bytes, ${identity.version}`;
  });
  return (await Promise.all(states)).join("; ");
}
