import { isIP } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import {
  type ChannelCredentials,
  type ChannelOptions,
  credentials,
  experimental,
  type ServerCredentials,
} from "@grpc/grpc-js";
import type { CertificateStore } from "./certificate-store.ts";
import { TrustError } from "./errors.ts";
import { identityFrom, type Role } from "./identity.ts";

/**
 * For a server. "required": a client must show a certificate of our authority, or there is no connection. "none": the
 * server shows its own and asks for none; only the join service is served so, on a port of its own.
 *
 * TLS 1.3, or 1.2: Node offers nothing older. After a change of the store's files new connections use the new ones.
 */
export function serverCredentials(
  store: CertificateStore,
  clients: "required" | "none" = "required",
): ServerCredentials {
  // The declaration calls the first of them the authorities'; it is the server's own (grpc-js 1.14.7).
  return experimental.createCertificateProviderServerCredentials(store, clients === "none" ? null : store, true);
}

/** Who must be at the other end. */
export interface ExpectedPeer {
  readonly role: Role;
  /** Without a name, any of that role. */
  readonly name?: string;
  /**
   * The name or address for which its certificate must have been issued: for a coordinator, what the user typed. A worker
   * that listens is known by its name instead, and dialed where it says.
   */
  readonly host?: string;
}

/** For a client that has a certificate. After a change of the store's files new connections use the new ones. */
export function channelCredentials(store: CertificateStore, peer: ExpectedPeer): ChannelCredentials {
  return experimental.createCertificateProviderChannelCredentials(store, store, {
    checkServerIdentity: (_, certificate) => peerFault(peer, certificate),
  });
}

/**
 * Options that go with either kind of credentials for a channel to `host`. grpc-js sends the host as the server's name
 * (SNI) also where it is an address, which is not permitted, and of which Node warns the user.
 */
export function channelOptions(host: string): ChannelOptions {
  return isIP(host) === 0 ? {} : { "grpc.ssl_target_name_override": "deltaworks" };
}

/** For a client that has no certificate yet and knows only the authority's, PEM: it may talk to the join service at `host`. */
export function joinCredentials(authority: string, host: string): ChannelCredentials {
  return credentials.createSsl(Buffer.from(authority), null, null, {
    checkServerIdentity: (_, certificate) => peerFault({ role: "coordinator", host }, certificate),
  });
}

/**
 * Given to node:tls in place of its own check, which compares the host only. The host that node:tls would pass is the
 * server's name of `channelOptions`, so it is not looked at.
 */
function peerFault(peer: ExpectedPeer, certificate: PeerCertificate): Error | undefined {
  try {
    if (peer.host !== undefined) {
      const fault = checkServerIdentity(peer.host, certificate);
      if (fault !== undefined) return fault;
    }
    const { role, name } = identityFrom(certificate, Date.now());
    if (role === peer.role && (peer.name === undefined || name === peer.name)) return undefined;
    const wanted = peer.name === undefined ? peer.role : `${peer.role} ${peer.name}`;
    return new TrustError("trust/role", `${role} ${name} answered where ${wanted} was expected`, {
      hint: "Check the address; its certificate must be issued for that role.",
    });
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
