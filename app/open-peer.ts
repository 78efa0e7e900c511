import type { ChannelCredentials, ChannelOptions, ServerCredentials } from "@grpc/grpc-js";
import { credentials, ServerCredentials as Servers } from "@grpc/grpc-js";
import { placeOf, type Source } from "../storage/index.ts";
import {
  CertificateStore,
  type CertifiedIdentity,
  channelCredentials,
  channelOptions,
  checkListenAddress,
  checkRole,
  parseAddress,
  type Role,
  serverCredentials,
  TrustError,
  type TrustFiles,
  type WatchOptions,
} from "../trust/index.ts";
import type { TrustSettings } from "./settings.ts";

/** How a client reaches the coordinator. */
export interface Dialed {
  readonly credentials: ChannelCredentials;
  readonly options: ChannelOptions;
  /** Undefined without TLS. */
  readonly certificates?: CertificateStore;
  close(): void;
}

/**
 * For a client of the coordinator at `address`, with one of the roles. Without certificates: plain, on loopback or where
 * --insecure says so.
 * @throws TrustError `trust/plaintext-address`, `trust/role`, and of certificates that cannot be used
 */
export async function openDial(
  store: Source,
  address: string,
  roles: readonly Role[],
  options: TrustSettings,
  watch: WatchOptions = {},
): Promise<Dialed> {
  const { host } = parseAddress(address);
  const files = trustFiles(options);
  checkListenAddress(address, { tls: files !== undefined, insecure: options.insecure }, "connect to");
  if (files === undefined) return { credentials: credentials.createInsecure(), options: {}, close: () => undefined };
  const certificates = await openCertificates(store, files, roles, watch);
  return {
    credentials: channelCredentials(certificates, { role: "coordinator", host }),
    options: channelOptions(host),
    certificates,
    close: () => certificates.close(),
  };
}

/** How a server is reached: mutual TLS, or plain where that is allowed. */
export interface Listened {
  readonly credentials: ServerCredentials;
  /** Undefined without TLS: then nobody has an identity. */
  readonly certificates?: CertificateStore;
  close(): void;
}

/** For a coordinator, or a worker that listens. @throws as openDial */
export async function openListen(
  store: Source,
  address: string,
  roles: readonly Role[],
  options: TrustSettings,
  watch: WatchOptions = {},
): Promise<Listened> {
  const files = trustFiles(options);
  checkListenAddress(address, { tls: files !== undefined, insecure: options.insecure });
  if (files === undefined) return { credentials: Servers.createInsecure(), close: () => undefined };
  const certificates = await openCertificates(store, files, roles, watch);
  return { credentials: serverCredentials(certificates), certificates, close: () => certificates.close() };
}

/** All three files, or none. @throws TrustError `trust/option` */
export function trustFiles({ cert, key, ca }: TrustSettings): TrustFiles | undefined {
  if (cert === undefined && key === undefined && ca === undefined) return undefined;
  if (cert !== undefined && key !== undefined && ca !== undefined)
    return { certificate: placeOf(cert), key: placeOf(key), authority: placeOf(ca) };
  const missing = Object.entries({ "--cert": cert, "--key": key, "--ca": ca }).filter(([, file]) => file === undefined);
  throw new TrustError("trust/option", `${missing.map(([name]) => name).join(" and ")} missing`, {
    hint: "Certificate, key and authority go together; `deltaworks certs` makes them.",
  });
}

async function openCertificates(store: Source, files: TrustFiles, roles: readonly Role[], watch: WatchOptions) {
  const certificates = await CertificateStore.open(store, files, watch);
  try {
    checkOwnRole(certificates.current.identity, roles);
    return certificates;
  } catch (error) {
    certificates.close();
    throw error;
  }
}

/** Told here, before the other side refuses it. */
function checkOwnRole(identity: CertifiedIdentity, roles: readonly Role[]): void {
  checkRole(identity, roles, "do this with the certificate that was given");
}

/** Of an address that cannot be listened on: another process has it, or no interface. */
export function notListening(option: string, address: string, cause: unknown): TrustError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new TrustError("trust/option", `cannot listen on ${address} (${option}): ${why}`, {
    hint: `Give ${option} an address of this machine with a port that is free; \`ss -ltnp\` shows who has which.`,
    cause,
  });
}
