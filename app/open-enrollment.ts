import { type EnrollmentEvent, enrollmentService, serveJoining } from "../enrollment/index.ts";
import { coordinatorDefaults } from "../options/index.ts";
import { type Files, type Place, placeOf, readWhole } from "../storage/index.ts";
import {
  type Authority,
  authorityOf,
  type CertificateStore,
  formatAddress,
  PEM_BYTES_LIMIT,
  parseAddress,
  Secret,
  serverCredentials,
  TokenFile,
} from "../trust/index.ts";
import { notListening } from "./open-peer.ts";
import type { EnrollingSettings } from "./settings.ts";

export interface Enrollment {
  /** For the port of mutual TLS: tokens and renewal. */
  readonly service: ReturnType<typeof enrollmentService>;
  /** The join port, HOST:PORT. */
  readonly joinAddress: string;
  close(): void;
}

export interface EnrollmentPlace {
  /** Where the coordinator listens by mutual TLS. */
  readonly listenAddress: string;
  readonly certificates: CertificateStore;
  /** In the coordinator's state directory. */
  readonly tokensPath: Place;
  readonly onEvent: (event: EnrollmentEvent) => void;
}

/**
 * Lets machines join, for a coordinator that was given the authority's key; undefined for one that was not.
 * @throws TrustError `trust/no-authority` if the key is that of none of the authorities given
 */
export async function openEnrollment(
  store: Files,
  { caKey, joinListen, certificateTtl = coordinatorDefaults.certificateTtl }: EnrollingSettings,
  { listenAddress, certificates, tokensPath, onEvent }: EnrollmentPlace,
): Promise<Enrollment | undefined> {
  if (caKey === undefined) return undefined;
  const key = new Secret(Buffer.from(await readWhole(store, placeOf(caKey), PEM_BYTES_LIMIT)).toString("utf8"));
  const authority: Authority = authorityOf(certificates.current.authorities, key);
  const tokens = await TokenFile.open(store, tokensPath);
  const service = enrollmentService({ authority, tokens, ttlMs: certificateTtl, onEvent });
  const { host, port } = parseAddress(listenAddress);
  const wanted = joinListen ?? formatAddress({ host, port: port === 0 ? 0 : port + 1 });
  const server = await serveJoining(service, wanted, serverCredentials(certificates, "none")).catch(
    (error: unknown) => {
      throw notListening("--join-listen", wanted, error);
    },
  );
  return {
    service,
    joinAddress: formatAddress({ host: parseAddress(wanted).host, port: server.port }),
    close: server.close,
  };
}
