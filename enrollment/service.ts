import type { ServerUnaryCall, sendUnaryData } from "@grpc/grpc-js";
import { failureFrom } from "../merge/work/index.ts";
import type { EnrollmentServer } from "../proto/index.ts";
import {
  type Authority,
  checkRole,
  fingerprintOf,
  type Identity,
  identityOfCall,
  issueFromCsr,
  JOINED_MS,
  keyDigestOf,
  parseName,
  parseRole,
  Secret,
  type TokenFile,
  TrustError,
} from "../trust/index.ts";
import { statusOf } from "../wire/index.ts";

export interface EnrollmentOptions {
  readonly authority: Authority;
  readonly tokens: TokenFile;
  /** Life of the certificates that are given out. Default 24 h. */
  readonly ttlMs?: number;
  readonly now?: () => number;
  /** Told of everything that was given out, or refused: for the log. Holds no secret. */
  readonly onEvent?: (event: EnrollmentEvent) => void;
}

export type EnrollmentEvent =
  | { readonly event: "token-created"; readonly by: Identity; readonly role: string; readonly name?: string }
  | { readonly event: "joined" | "renewed"; readonly identity: Identity; readonly keySha256: string }
  | {
      readonly event: "refused";
      readonly call: string;
      readonly code: string;
      readonly message: string;
      readonly peer: string;
    };

/**
 * How certificates are come by. It is served on two ports: on that of mutual TLS, where every call has a caller, and on
 * the join port, where nobody has a certificate and `Join` is the only call that can succeed: the others look for an
 * identity and find none.
 */
export function enrollmentService(options: EnrollmentOptions): EnrollmentServer {
  const { authority, tokens, ttlMs = JOINED_MS, now = Date.now, onEvent } = options;

  /** A handler that answers with what `answer` gives, or with its error as a status. */
  function handle<Request, Response>(
    name: string,
    answer: (call: ServerUnaryCall<Request, Response>) => Promise<Response>,
  ) {
    return (call: ServerUnaryCall<Request, Response>, reply: sendUnaryData<Response>) => {
      answer(call).then(
        (response) => reply(null, response),
        (error: unknown) => {
          const { code, message } = failureFrom(error);
          onEvent?.({ event: "refused", call: name, code, message, peer: call.getPeer() });
          reply(statusOf(error));
        },
      );
    };
  }

  async function give(event: "joined" | "renewed", identity: Identity, csr: Uint8Array) {
    const keySha256 = await keyDigestOf(csr);
    const certificate = await issueFromCsr(authority, csr, identity, { nowMs: now(), ttlMs });
    onEvent?.({ event, identity, keySha256 });
    return { certificate, ca: authority.certificate };
  }

  return {
    createToken: handle("CreateToken", async (call) => {
      const by = identityOfCall(call, now());
      checkRole(by, ["admin"], "make join tokens");
      const { role, name, ttlSeconds } = call.request;
      const wish = {
        role: joinableRole(role),
        ttlMs: ttlSeconds * 1000,
        ...(name === "" ? {} : { name: parseName(name) }),
      };
      const token = await tokens.create(wish, now());
      onEvent?.({ event: "token-created", by: { role: by.role, name: by.name }, ...wish });
      return { token: token.reveal(), caSha256: Buffer.from(fingerprintOf(authority.certificate), "hex") };
    }),

    join: handle("Join", async (call) => {
      const { token, csr, name } = call.request;
      // What cannot be granted is refused before the token is used up.
      const wished = name === "" ? undefined : parseName(name);
      const keySha256 = await keyDigestOf(csr);
      const { role, name: given } = await tokens.redeem(new Secret(token), keySha256, now());
      return give("joined", { role, name: given ?? nameFor(wished ?? role, keySha256) }, csr);
    }),

    renew: handle("Renew", async (call) => {
      const { role, name } = identityOfCall(call, now());
      return give("renewed", { role, name }, call.request.csr);
    }),
  };
}

function joinableRole(text: string) {
  const role = parseRole(text);
  if (role !== "coordinator") return role;
  throw new TrustError("trust/option", "a coordinator cannot join with a token", {
    hint: "Issue its certificate with `deltaworks certs issue`: it must name the hosts at which it is dialed.",
  });
}

/**
 * A name that whoever joins chose is made unique by its key: or one worker could take the name of another, and report
 * for it. `gpu-1` becomes `gpu-1-3f9c02ab`.
 */
export function nameFor(wished: string, keySha256: string): string {
  return parseName(`${wished.slice(0, 54)}-${keySha256.slice(0, 8)}`);
}
