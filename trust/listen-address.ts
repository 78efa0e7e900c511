import { isIPv4, isIPv6 } from "node:net";
import { TrustError } from "./errors.ts";

export interface Address {
  /** A name or a numeric address, without the brackets of IPv6. */
  readonly host: string;
  /** 0: the system chooses, where that makes sense. */
  readonly port: number;
}

/** `host:port` or `[ipv6]:port`. @throws TrustError `trust/option` */
export function parseAddress(text: string): Address {
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host !== undefined && Number(port) <= 65_535 && (bracketed === undefined || isIPv6(bracketed))) {
    return { host, port: Number(port) };
  }
  throw new TrustError("trust/option", `${JSON.stringify(text)} is no address`, {
    hint: "Write HOST:PORT, for example 127.0.0.1:7410 or [::1]:7410.",
  });
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether only processes of this machine can be at the other end. */
export function isLoopback(host: string): boolean {
  if (isIPv4(host)) return host.startsWith("127.");
  if (isIPv6(host)) return /^(?:0*:)+(?:0*1)$/.test(host) || /^::ffff:127\./i.test(host);
  return host.toLowerCase() === "localhost";
}

/**
 * Refuses to speak without TLS to anything but this machine, whether listening or dialing: there everybody on the way
 * reads weights and sends commands. `insecure` is what the user said with --insecure.
 * @throws TrustError `trust/plaintext-address`
 */
export function checkListenAddress(
  address: string,
  { tls, insecure }: { readonly tls: boolean; readonly insecure: boolean },
  action: "listen on" | "connect to" = "listen on",
): void {
  const { host } = parseAddress(address);
  if (tls || insecure || isLoopback(host)) return;
  throw new TrustError("trust/plaintext-address", `will not ${action} ${address} without TLS`, {
    hint: "Give --cert, --key and --ca (`deltaworks certs` makes them), or say --insecure if the network itself is safe.",
  });
}
