import { type CallOptions, type ChannelCredentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import type { CreateTokenResponse, JoinResponse, RenewResponse } from "../proto/index.ts";
import { EnrollmentClient } from "../proto/index.ts";
import { type Files, join as joinPlace, type Place, writeWhole } from "../storage/index.ts";
import {
  type Address,
  channelOptions,
  createRequest,
  findAuthority,
  formatAddress,
  joinCredentials,
  type Role,
  Secret,
  type TrustFiles,
} from "../trust/index.ts";
import { CallError } from "./errors.ts";

/** A call that takes longer has failed: signing takes milliseconds. */
const CALL_MS = 20_000;

/** Files of whoever joined: key and certificate in one file, so that they change together. */
export function joinedFiles(directory: Place): TrustFiles {
  const own = joinPlace(directory, "identity.pem");
  return { certificate: own, key: own, authority: joinPlace(directory, "ca.pem") };
}

export interface JoinOptions {
  /** The coordinator's join address. */
  readonly address: Address;
  /** SHA-256 of the authority's certificate, hex. It must have come with the token, not from the network. */
  readonly authoritySha256: string;
  readonly token: Secret;
  /** Wished for; the coordinator makes it unique, unless the token has a name. */
  readonly name: string;
}

/**
 * Uses a token: makes a key, which does not leave this machine, and has it certified. The token goes to nobody but a
 * coordinator that an authority with the fingerprint vouches for. Writes `files`.
 * @throws TrustError `trust/unreachable`, `trust/fingerprint`; CallError; StorageError
 */
export async function join(store: Files, files: TrustFiles, { address, authoritySha256, token, name }: JoinOptions) {
  const authority = await findAuthority(address, authoritySha256);
  const { key, request } = await createRequest();
  const { certificate } = await enrollmentCall<JoinResponse>(
    address,
    joinCredentials(authority, address.host),
    (client, ...rest) => client.join({ token: token.reveal(), csr: Buffer.from(request), name }, ...rest),
  );
  await writeWhole(store, files.authority, Buffer.from(authority));
  await writeIdentity(store, files, key, certificate);
}

/**
 * Asks for the next certificate over a connection that the present one still opens, for a new key, and writes it in
 * place of the old one. The authorities in `files` are left as they are.
 * @throws CallError, StorageError
 */
export async function renew(store: Files, files: TrustFiles, address: Address, credentials: ChannelCredentials) {
  const { key, request } = await createRequest();
  const { certificate } = await enrollmentCall<RenewResponse>(address, credentials, (client, ...rest) =>
    client.renew({ csr: Buffer.from(request) }, ...rest),
  );
  await writeIdentity(store, files, key, certificate);
}

export interface Token {
  readonly token: Secret;
  readonly authoritySha256: string;
}

/** Asks for a join token, as an admin. @throws CallError */
export async function createToken(
  address: Address,
  credentials: ChannelCredentials,
  wish: { readonly role: Role; readonly name?: string | undefined; readonly ttlMs: number },
): Promise<Token> {
  const message = { role: wish.role, name: wish.name ?? "", ttlSeconds: Math.max(1, Math.round(wish.ttlMs / 1000)) };
  const { token, caSha256 } = await enrollmentCall<CreateTokenResponse>(address, credentials, (client, ...rest) =>
    client.createToken(message, ...rest),
  );
  return { token: new Secret(token), authoritySha256: Buffer.from(caSha256).toString("hex") };
}

type Done<Response> = (error: ServiceError | null, response: Response) => void;

/** One call on a connection of its own. */
async function enrollmentCall<Response>(
  address: Address,
  credentials: ChannelCredentials,
  make: (client: EnrollmentClient, ...rest: [Metadata, Partial<CallOptions>, Done<Response>]) => unknown,
): Promise<Response> {
  const client = new EnrollmentClient(formatAddress(address), credentials, channelOptions(address.host));
  try {
    return await new Promise<Response>((resolve, reject) => {
      make(client, new Metadata(), { deadline: Date.now() + CALL_MS }, (error, response) =>
        error === null ? resolve(response) : reject(new CallError(error, formatAddress(address))),
      );
    });
  } finally {
    client.close();
  }
}

async function writeIdentity(store: Files, files: TrustFiles, key: Secret, chain: string): Promise<void> {
  if (files.certificate !== files.key) throw new Error("key and certificate of a joined worker belong in one file");
  await writeWhole(store, files.key, Buffer.from(key.reveal() + chain), { ownerOnly: true });
}
