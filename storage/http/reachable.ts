import * as dns from "node:dns";
import { BlockList, isIP, type LookupFunction } from "node:net";

/** Where a connection may lead: `public` addresses alone, or private ones too. Metadata services of clouds: never. */
export type Reach = "public" | "private";

/** An address that must not be connected to; the name alone is said, what it resolved to may be nobody's business. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
}

/**
 * Link-local addresses: those of machines that gave themselves one, and of what tells a machine of a cloud who it is, with keys.
 * 100.100.100.200 is Alibaba's, 192.0.0.192 Oracle's old one, fd00:ec2::254 and fd20:ce::254 those of AWS and Google over IPv6, 168.63.129.16
 * is Azure's host.
 */
const metadata = blockList([
  "169.254.0.0/16",
  "100.100.100.200/32",
  "192.0.0.192/32",
  "168.63.129.16/32",
  "fe80::/10",
  "fd00:ec2::254/128",
  "fd20:ce::254/128",
]);

const ownNets = blockList([
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "::/128",
  "::1/128",
  "fc00::/7",
]);

function blockList(nets: readonly string[]): BlockList {
  const list = new BlockList();
  for (const net of nets) {
    const [address = "", bits] = net.split("/");
    list.addSubnet(address, Number(bits), isIP(address) === 6 ? "ipv6" : "ipv4");
  }
  return list;
}

/** An IPv4 address that is spelled as one of IPv6: mapped (::ffff:a.b.c.d), or translated (64:ff9b::). */
function withoutMapping(address: string): string {
  const dotted = /^(?:::ffff:|64:ff9b::)(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (dotted !== undefined) return dotted;
  const [, high, low] = /^(?:::ffff:|64:ff9b::)([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(address) ?? [];
  if (high === undefined || low === undefined) return address;
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return `${a >> 8}.${a & 255}.${b >> 8}.${b & 255}`;
}

function isIn(list: BlockList, address: string): boolean {
  const plain = withoutMapping(address);
  return list.check(plain, isIP(plain) === 6 ? "ipv6" : "ipv4");
}

export function isMetadataAddress(address: string): boolean {
  return isIn(metadata, address);
}

/** Of a network that is not the Internet: this machine, a company's, a cloud's. */
export function isPrivateAddress(address: string): boolean {
  return isMetadataAddress(address) || isIn(ownNets, address);
}

/** The host of a URL as `node:net` takes it: without brackets. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, "$1");
}

/** @throws Unreachable of an address, and not a name, that is out of reach */
export function checkLiteral(host: string, reach: Reach): void {
  if (isIP(host) !== 0) check(host, host, reach);
}

function check(address: string, host: string, reach: Reach): void {
  if (isMetadataAddress(address))
    throw new Unreachable(`${host} is the address of a cloud's metadata service, or of this machine's own network`);
  if (reach === "public" && isPrivateAddress(address))
    throw new Unreachable(`${host} is an address of a private network, and was led to from a public one`);
}

/** Resolves names for `node:net`, and gives no address that is out of reach: whatever a name resolved to a moment before. */
export function lookupWithin(reach: Reach): LookupFunction {
  return (host, options, callback) => {
    dns.lookup(host, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, "", 0);
      try {
        for (const { address } of found) check(address, host, reach);
      } catch (unreachable) {
        return callback(unreachable as Error, "", 0);
      }
      const [first] = found;
      if (options.all === true) callback(null, found);
      else callback(null, first?.address ?? "", first?.family ?? 0);
    });
  };
}

/** Whether an address, or what a name resolves to, is private: what it leads to may be too. */
export async function reachFrom(url: URL): Promise<Reach> {
  const host = hostOf(url);
  if (isIP(host) !== 0) return isPrivateAddress(host) ? "private" : "public";
  const found = await dns.promises.lookup(host, { all: true });
  return found.some(({ address }) => isPrivateAddress(address)) ? "private" : "public";
}
