import { randomBytes, timingSafeEqual } from "node:crypto";
import { TrustError } from "./errors.ts";
import { parseName, parseRole, type Role } from "./identity.ts";
import { Secret } from "./secrets/index.ts";
import { sha256Of } from "./sha256-of.ts";

/** What is kept of a token: enough to know it again, not enough to make it. */
export interface TokenRecord {
  /** Not secret. */
  readonly id: string;
  /** SHA-256 of the token's secret part, hex. The secret has 256 random bits: a slow hash would add nothing. */
  readonly sha256: string;
  readonly role: Role;
  /** The name that the certificate will have; without it the joining side proposes one. */
  readonly name?: string;
  readonly expiresAtMs: number;
  /** Digest of the key for which the token was used. */
  readonly usedFor?: string;
}

export interface TokenWish {
  readonly role: Role;
  readonly name?: string;
  readonly ttlMs: number;
}

/** Longest life of a token, one week: it opens the door to whoever holds it. */
const TOKEN_MS_LIMIT = 7 * 86_400_000;
/** Tokens that are used up or expired are forgotten after this time, so that errors can tell why for a while. */
const KEPT_MS = 86_400_000;
const TOKENS_LIMIT = 10_000;
const SECRET_BYTES = 32;

/**
 * One-time join tokens. Pure data and pure decisions: TokenFile keeps it on disk.
 * A token is `dw1.<id>.<secret>`; of the secret only the hash is kept.
 */
export class TokenBook {
  readonly #records: Map<string, TokenRecord>;

  constructor(records: Iterable<TokenRecord> = []) {
    this.#records = new Map([...records].map((record) => [record.id, record]));
  }

  get records(): readonly TokenRecord[] {
    return [...this.#records.values()];
  }

  /** Makes a token and notes it. `random` gives that many random bytes. @throws TrustError `trust/option` */
  create(wish: TokenWish, nowMs: number, random: (bytes: number) => Uint8Array = randomBytes): Secret {
    const { role, ttlMs } = wish;
    if (!(ttlMs > 0 && ttlMs <= TOKEN_MS_LIMIT)) {
      throw new TrustError("trust/option", `a token cannot live for ${ttlMs} ms`, {
        hint: "Give more than nothing and at most a week, for example --ttl 10m.",
      });
    }
    this.#forget(nowMs);
    if (this.#records.size >= TOKENS_LIMIT) {
      throw new TrustError("trust/token-book", `there are ${this.#records.size} tokens already`, {
        hint: "Wait until some have expired.",
      });
    }
    const id = Buffer.from(random(6)).toString("hex");
    const secret = Buffer.from(random(SECRET_BYTES)).toString("base64url");
    const name = wish.name === undefined ? {} : { name: parseName(wish.name) };
    this.#records.set(id, { id, sha256: sha256Of(secret).toString("hex"), role, ...name, expiresAtMs: nowMs + ttlMs });
    return new Secret(`dw1.${id}.${secret}`);
  }

  /**
   * Uses a token for a key, once. The same token with the same key is answered the same again until it expires: the
   * answer to the first call may have been lost, and nobody else has that key.
   * @param keyDigest SHA-256 of the public key that the certificate will be for
   * @throws TrustError `trust/token`, `trust/token-expired`, `trust/token-used`
   */
  redeem(token: Secret, keyDigest: string, nowMs: number): TokenRecord {
    const [, id = "", secret = ""] = /^dw1\.([0-9a-f]{12})\.([A-Za-z0-9_-]{43})$/.exec(token.reveal()) ?? [];
    const record = this.#records.get(id);
    // Compared in the same way whether the token is known or not, and in constant time.
    const same = timingSafeEqual(sha256Of(secret), Buffer.from(record?.sha256 ?? "00".repeat(32), "hex"));
    if (record === undefined || !same) {
      throw new TrustError("trust/token", "the join token is not known", {
        hint: "Make a new one with `deltaworks token create`, and copy all of it.",
      });
    }
    if (!(nowMs < record.expiresAtMs)) {
      throw new TrustError(
        "trust/token-expired",
        `join token ${id} expired at ${new Date(record.expiresAtMs).toISOString()}`,
        {
          hint: "Make a new one with `deltaworks token create`; --ttl says how long it lives.",
        },
      );
    }
    if (record.usedFor !== undefined && record.usedFor !== keyDigest) {
      throw new TrustError("trust/token-used", `join token ${id} has been used`, {
        hint: "A token is good for one worker. If you did not use it, somebody else did: look at the workers attached.",
      });
    }
    const used = { ...record, usedFor: keyDigest };
    this.#records.set(id, used);
    return used;
  }

  #forget(nowMs: number): void {
    for (const { id, expiresAtMs } of this.records) {
      if (nowMs >= expiresAtMs + KEPT_MS) this.#records.delete(id);
    }
  }

  /** For the disk. */
  toText(): string {
    return `${JSON.stringify({ version: 1, tokens: this.records }, undefined, 2)}\n`;
  }

  /** @throws TrustError `trust/token-book` for what `toText` would not write */
  static parse(text: string): TokenBook {
    try {
      const { version, tokens } = JSON.parse(text) as { version?: unknown; tokens?: unknown };
      if (version === 1 && Array.isArray(tokens)) return new TokenBook(tokens.map(parseRecord));
    } catch (cause) {
      throw unreadable(cause);
    }
    throw unreadable();
  }
}

function parseRecord(value: Partial<Record<keyof TokenRecord, unknown>>): TokenRecord {
  const { id, sha256: digest, role, name, expiresAtMs, usedFor } = value;
  const sound =
    typeof id === "string" &&
    typeof digest === "string" &&
    /^[0-9a-f]{64}$/.test(digest) &&
    typeof role === "string" &&
    typeof expiresAtMs === "number" &&
    (name === undefined || typeof name === "string") &&
    (usedFor === undefined || typeof usedFor === "string");
  if (!sound) throw unreadable();
  return {
    ...{ id, sha256: digest, role: parseRole(role), expiresAtMs },
    ...(name === undefined ? {} : { name: parseName(name) }),
    ...(usedFor === undefined ? {} : { usedFor }),
  };
}

function unreadable(cause?: unknown): TrustError {
  return new TrustError("trust/token-book", "the file of join tokens cannot be read", {
    hint: "Remove it and make new tokens: those in it are lost, certificates stay good.",
    cause,
  });
}
