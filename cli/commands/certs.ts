import { hostname } from "node:os";
import { join, openStores, type Place, placeOf, readWhole, type Source, writeWhole } from "../../storage/index.ts";
import {
  type Authority,
  checkAuthority,
  createAuthority,
  fingerprintOf,
  type Identity,
  identityIn,
  issue,
  PEM_BYTES_LIMIT,
  parseCertificates,
  parseHost,
  parseName,
  parseRole,
  Secret,
  TrustError,
} from "../../trust/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { reportError } from "../report-error.ts";
import { textTable } from "./text-table.ts";

const DAY_MS = 86_400_000;
const AUTHORITY_FILE = "ca.pem";
const AUTHORITY_KEY_FILE = "ca-key.pem";

export interface CertsInitOptions {
  readonly days: number;
  readonly json: boolean;
}

/** `deltaworks certs init DIR`: an authority of one's own, for development or a cluster without another. */
export async function certsInitCommand(
  [folder = ""]: readonly string[],
  { days, json }: CertsInitOptions,
  io: Io,
): Promise<number> {
  try {
    const store = openStores();
    const directory = placeOf(folder);
    const [certificate, key] = [join(directory, AUTHORITY_FILE), join(directory, AUTHORITY_KEY_FILE)];
    await checkAbsent(store, [certificate, key], "every certificate that it issued would be worth nothing");
    const authority = await createAuthority(Date.now(), days * DAY_MS);
    await store.makeDirectory(directory);
    await writeWhole(store, key, Buffer.from(authority.key.reveal()), { ownerOnly: true });
    await writeWhole(store, certificate, Buffer.from(authority.certificate));
    const sha256 = fingerprintOf(authority.certificate);
    if (json) io.stdout(`${JSON.stringify({ event: "authority", certificate, key, sha256 })}\n`);
    else
      io.stdout(
        textTable([
          ["certificate", certificate],
          ["key", `${key} (keep it secret)`],
          ["sha256", sha256],
        ]),
      );
    return exitCodes.done;
  } catch (error) {
    return reportError(io, error, json);
  }
}

export interface CertsIssueOptions {
  readonly role: string;
  readonly name: string;
  /** Separated by commas. */
  readonly hosts?: string;
  readonly days: number;
  readonly overwrite: boolean;
  readonly json: boolean;
}

/** `deltaworks certs issue DIR`: a key and a certificate beside the authority in DIR. */
export async function certsIssueCommand(
  [folder = ""]: readonly string[],
  options: CertsIssueOptions,
  io: Io,
): Promise<number> {
  try {
    const store = openStores();
    const directory = placeOf(folder);
    const identity = { role: parseRole(options.role), name: parseName(options.name) };
    const hosts = hostsOf(identity, options.hosts);
    const authority = await readAuthority(store, directory);
    const base = `${identity.role}-${identity.name}`;
    const [certificate, key] = [join(directory, `${base}.pem`), join(directory, `${base}-key.pem`)];
    if (!options.overwrite) await checkAbsent(store, [certificate, key], "--overwrite replaces it");
    const issued = await issue(authority, identity, { nowMs: Date.now(), ttlMs: options.days * DAY_MS, hosts });
    await writeWhole(store, key, Buffer.from(issued.key.reveal()), { ownerOnly: true });
    await writeWhole(store, certificate, Buffer.from(issued.chain));
    if (options.json) io.stdout(`${JSON.stringify({ event: "certificate", ...identity, hosts, certificate, key })}\n`);
    else
      io.stdout(
        textTable([
          ["certificate", certificate],
          ["key", `${key} (keep it secret)`],
          ["for", forText(identity, hosts)],
        ]),
      );
    return exitCodes.done;
  } catch (error) {
    return reportError(io, error, options.json);
  }
}

/** `deltaworks certs show FILE`: what stands in the certificates of a PEM file. */
export async function certsShowCommand(
  [path = ""]: readonly string[],
  { json }: { readonly json: boolean },
  io: Io,
): Promise<number> {
  try {
    const text = await readText(openStores(), placeOf(path));
    const shown = parseCertificates(text, path).map((certificate) => ({
      ...(certificate.ca ? { authority: true } : nameOf(() => identityIn(certificate))),
      names: certificate.subjectAltName ?? "",
      notBefore: new Date(certificate.validFrom).toISOString(),
      notAfter: new Date(certificate.validTo).toISOString(),
      serial: certificate.serialNumber,
      sha256: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
    }));
    if (json) io.stdout(shown.map((one) => `${JSON.stringify({ event: "certificate", ...one })}\n`).join(""));
    else
      io.stdout(
        shown.map((one) => textTable(Object.entries(one).map(([key, value]) => [key, String(value)]))).join("\n"),
      );
    return exitCodes.done;
  } catch (error) {
    return reportError(io, error, json);
  }
}

/** The authority in a directory that `certs init` made. */
export async function readAuthority(store: Source, directory: Place): Promise<Authority> {
  const authority = {
    certificate: await readText(store, join(directory, AUTHORITY_FILE)),
    key: new Secret(await readText(store, join(directory, AUTHORITY_KEY_FILE))),
  };
  checkAuthority(authority);
  return authority;
}

async function readText(store: Source, path: Place): Promise<string> {
  return Buffer.from(await readWhole(store, path, PEM_BYTES_LIMIT)).toString("utf8");
}

/** Without --hosts a coordinator is dialed by its host's name and on its own machine; others are not dialed by a name. */
function hostsOf({ role }: Identity, hosts: string | undefined): string[] {
  if (hosts !== undefined) return hosts.split(",").map((host) => parseHost(host.trim()));
  return role === "coordinator"
    ? [...new Set([hostname().toLowerCase(), "localhost", "127.0.0.1", "::1"])].map(parseHost)
    : [];
}

function forText({ role, name }: Identity, hosts: readonly string[]): string {
  return hosts.length === 0 ? `${role} ${name}` : `${role} ${name}, at ${hosts.join(", ")}`;
}

/** A certificate of others is shown as well. */
function nameOf(
  identity: () => Identity,
): { readonly role: string; readonly name: string } | { readonly identity: "none" } {
  try {
    const { role, name } = identity();
    return { role, name };
  } catch {
    return { identity: "none" };
  }
}

async function checkAbsent(store: Source, paths: readonly Place[], why: string): Promise<void> {
  for (const path of paths) {
    if ((await store.identity(path)) === undefined) continue;
    throw new TrustError("trust/exists", `${path} is there already; ${why}`, {
      hint: "Choose another folder or name, or remove what is there.",
    });
  }
}
