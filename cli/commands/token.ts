import { openDial, type TrustSettings } from "../../app/index.ts";
import { createToken } from "../../enrollment/index.ts";
import { openStores } from "../../storage/index.ts";
import { parseAddress, parseName, parseRole, TrustError } from "../../trust/index.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { reportError } from "../report-error.ts";

export interface TokenCreateOptions extends TrustSettings {
  readonly coordinator?: string | undefined;
  readonly role: string;
  readonly name?: string | undefined;
  /** Milliseconds. */
  readonly ttl: number;
  readonly json: boolean;
}

/** `deltaworks token create`: a token with which one machine, or person, gets its first certificate. */
export async function tokenCreateCommand(_: readonly string[], options: TokenCreateOptions, io: Io): Promise<number> {
  const { coordinator, json } = options;
  try {
    const role = parseRole(options.role);
    const name = options.name === undefined ? undefined : parseName(options.name);
    if (coordinator === undefined) {
      throw new TrustError("trust/option", "the coordinator's address is missing", {
        hint: "Give it with --coordinator HOST:PORT, or in DELTAWORKS_COORDINATOR.",
      });
    }
    const dialed = await openDial(openStores(), coordinator, ["admin"], options);
    try {
      const { token, authoritySha256 } = await createToken(parseAddress(coordinator), dialed.credentials, {
        ...{ role, name, ttlMs: options.ttl },
      });
      // The one place where a token is shown.
      if (json) io.stdout(`${JSON.stringify({ event: "token", token: token.reveal(), caSha256: authoritySha256 })}\n`);
      else io.stdout(`${token.reveal()}\n`);
      if (!json) io.stderr(`use it with  --ca-sha256 ${authoritySha256}\n`);
      return exitCodes.done;
    } finally {
      dialed.close();
    }
  } catch (error) {
    return reportError(io, error, json);
  }
}
