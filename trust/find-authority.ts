import { isIP } from "node:net";
import { connect, type DetailedPeerCertificate } from "node:tls";
import { TrustError } from "./errors.ts";
import { type Address, formatAddress } from "./listen-address.ts";

/** As `deltaworks certs show` prints it, with or without colons. @throws TrustError `trust/option` */
export function parseFingerprint(text: string): string {
  const digits = text.replaceAll(":", "").toLowerCase();
  if (/^[0-9a-f]{64}$/.test(digits)) return digits;
  throw new TrustError("trust/option", "the fingerprint of the authority must be a SHA-256: 64 hexadecimal digits", {
    hint: "`deltaworks certs show ca.pem` prints it.",
  });
}

/**
 * The authority's certificate, PEM, of which only the fingerprint is known: a server of ours shows it after its own.
 * Nothing is sent to the server, nothing else that it shows is believed; what comes back has the fingerprint.
 * @throws TrustError `trust/unreachable`; `trust/fingerprint` if the server shows no certificate with it
 */
export async function findAuthority(address: Address, sha256: string, timeoutMs = 10_000): Promise<string> {
  const wanted = parseFingerprint(sha256);
  const shown = await shownBy(address, timeoutMs);
  const found = shown.find(
    ({ raw, fingerprint256 }) => raw !== undefined && parseFingerprint(fingerprint256) === wanted,
  );
  if (found !== undefined) return pemFrom(found.raw);
  throw new TrustError(
    "trust/fingerprint",
    `${formatAddress(address)} shows no authority with the fingerprint ${wanted.slice(0, 16)}…`,
    {
      hint: "Compare with `deltaworks certs show ca.pem` on the coordinator. If it is right there, somebody else answers at this address.",
    },
  );
}

function shownBy({ host, port }: Address, timeoutMs: number): Promise<DetailedPeerCertificate[]> {
  return new Promise((resolve, reject) => {
    const fail = (why: string, cause?: unknown) => {
      socket.destroy();
      const message = `cannot reach ${formatAddress({ host, port })} by TLS: ${why}`;
      const hint = "Is that the coordinator's join address, and does the coordinator run?";
      reject(new TrustError("trust/unreachable", message, { hint, retryable: true, cause }));
    };
    const socket = connect({
      host,
      port,
      // Nothing is trusted yet, so nothing can be verified; see above.
      rejectUnauthorized: false,
      ALPNProtocols: ["h2"],
      ...(isIP(host) === 0 ? { servername: host } : {}),
    });
    socket.setTimeout(timeoutMs, () => fail(`no answer within ${timeoutMs} ms`));
    socket.once("error", (error) => fail(error.message, error));
    socket.once("close", () => fail("the connection was closed"));
    socket.once("secureConnect", () => {
      const shown: DetailedPeerCertificate[] = [];
      // A certificate that signed itself is its own issuer.
      for (
        let next = socket.getPeerCertificate(true);
        next?.raw && !shown.includes(next);
        next = next.issuerCertificate
      )
        shown.push(next);
      resolve(shown);
      socket.destroy();
    });
  });
}

function pemFrom(der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString("base64")
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
