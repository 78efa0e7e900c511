import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createAuthority, issue } from "../../trust/index.ts";

/** Of a server on loopback, as PEM. */
export interface ServerCertificate {
  readonly key: string;
  readonly cert: string;
  readonly ca: string;
}

export async function serverCertificate(): Promise<ServerCertificate> {
  const nowMs = Date.now();
  const authority = await createAuthority(nowMs);
  const identity = { role: "coordinator", name: "server" } as const;
  const { chain, key } = await issue(authority, identity, {
    nowMs,
    ttlMs: 3_600_000,
    hosts: ["127.0.0.1", "localhost"],
  });
  return { key: key.reveal(), cert: chain, ca: authority.certificate };
}

/** The same as files of a folder: their paths. */
export async function serverCertificateIn(folder: string): Promise<ServerCertificate> {
  const texts = await serverCertificate();
  const paths = { key: join(folder, "server.key"), cert: join(folder, "server.pem"), ca: join(folder, "ca.pem") };
  for (const name of ["key", "cert", "ca"] as const) writeFileSync(paths[name], texts[name]);
  return paths;
}
