import { X509Certificate } from "node:crypto";
import { TrustError } from "./errors.ts";

/** Of a file of certificates, or of a key: chains and bundles of development are a few kB. */
export const PEM_BYTES_LIMIT = 1 << 20;

const blockPattern = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/** Every certificate of a PEM text, in its order; at least one. `what` names the text in errors. @throws TrustError `trust/pem` */
export function parseCertificates(text: string, what: string): X509Certificate[] {
  const blocks = text.match(blockPattern) ?? [];
  const refuse = (why: string, cause?: unknown) =>
    new TrustError("trust/pem", `${what} ${why}`, {
      hint: "It should be PEM, with BEGIN CERTIFICATE and END CERTIFICATE around each.",
      cause,
    });
  if (blocks.length === 0) throw refuse("holds no certificate");
  return blocks.map((block, k) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw refuse(`: certificate ${k + 1} of ${blocks.length} cannot be read`, cause);
    }
  });
}
