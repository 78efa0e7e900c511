import { errnoOf, StorageError } from "../errors.ts";
import type { AwsSettings } from "./aws-settings.ts";
import type { AwsCredentials } from "./sigv4.ts";

interface Resolved {
  /** Undefined: questions are not signed. */
  readonly credentials: AwsCredentials | undefined;
  /** When new ones must be had. */
  readonly expiresMs: number;
}

/** New ones are asked for so long before the old ones end. */
const MARGIN_MS = 120_000;

/**
 * Who asks: keys of the environment or of a profile; where neither has any, what AWS's own chain of credentials finds (roles, SSO, web
 * identity, the machine's), if its package is installed; else nobody, which public buckets take.
 */
export class Credentials {
  readonly #settings: () => Promise<AwsSettings>;
  #resolved: Promise<Resolved> | undefined;

  readonly #findChain: FindChain;

  /** `settings`: read anew where keys are refused: somebody may have exchanged them. */
  constructor(settings: () => Promise<AwsSettings>, findChain: FindChain) {
    this.#settings = settings;
    this.#findChain = findChain;
  }

  async current(nowMs: number): Promise<AwsCredentials | undefined> {
    const known = await this.#resolved;
    if (known === undefined || known.expiresMs - MARGIN_MS <= nowMs) this.#renew();
    return (await this.#resolved)?.credentials;
  }

  /** After a refusal: others, or the same where there are no others. */
  async renewed(refused: AwsCredentials | undefined): Promise<AwsCredentials | undefined> {
    const known = (await this.#resolved)?.credentials;
    if (sameCredentials(known, refused)) this.#renew(); // else another question has renewed them
    const renewed = (await this.#resolved)?.credentials;
    return sameCredentials(renewed, refused) ? refused : renewed;
  }

  #renew(): void {
    const resolving = this.#settings().then((settings) => resolve(settings, this.#findChain));
    this.#resolved = resolving;
    resolving.catch(() => {
      if (this.#resolved === resolving) this.#resolved = undefined;
    });
  }
}

async function resolve({ keys, profile, otherWay }: AwsSettings, findChain: FindChain): Promise<Resolved> {
  if (keys !== undefined) return { credentials: keys, expiresMs: Number.POSITIVE_INFINITY };
  const chain = await findChain();
  if (chain === undefined) {
    if (otherWay === undefined) return { credentials: undefined, expiresMs: Number.POSITIVE_INFINITY };
    throw new StorageError(
      "storage/denied",
      `keys for S3 are to be had by ${otherWay}, which needs a package that is not installed`,
      {
        hint: "npm install @aws-sdk/credential-provider-node, beside deltaworks; or give keys (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY).",
      },
    );
  }
  try {
    const { accessKeyId, secretAccessKey, sessionToken, expiration } = await chain(profile);
    const credentials = { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
    return { credentials, expiresMs: expiration?.getTime() ?? Number.POSITIVE_INFINITY };
  } catch (cause) {
    // It says so too where there is nothing at all that could give keys.
    if (otherWay === undefined) return { credentials: undefined, expiresMs: Number.POSITIVE_INFINITY };
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StorageError("storage/denied", `no keys for S3 could be had by ${otherWay}: ${reason}`, {
      hint: "Try the same profile with `aws sts get-caller-identity`.",
    });
  }
}

interface ChainedCredentials extends AwsCredentials {
  readonly expiration?: Date;
}

/** Finds AWS's chain of credentials; undefined where its package is not installed. */
export type FindChain = () => Promise<((profile: string) => Promise<ChainedCredentials>) | undefined>;

export async function maybeChain(): ReturnType<FindChain> {
  try {
    const { defaultProvider } = await import("@aws-sdk/credential-provider-node");
    return (profile) => defaultProvider({ profile })();
  } catch (error) {
    if (errnoOf(error) === "ERR_MODULE_NOT_FOUND") return undefined;
    throw error;
  }
}

function sameCredentials(a: AwsCredentials | undefined, b: AwsCredentials | undefined): boolean {
  return (
    a?.accessKeyId === b?.accessKeyId &&
    a?.secretAccessKey === b?.secretAccessKey &&
    a?.sessionToken === b?.sessionToken
  );
}
