import { type Files, type Place, readWhole, writeWhole } from "../storage/index.ts";
import type { Secret } from "./secrets/index.ts";
import { TokenBook, type TokenRecord, type TokenWish } from "./token-book.ts";

const BOOK_BYTES_LIMIT = 16 << 20;

/**
 * The token book of a coordinator, on disk. A token counts as used once that is durable, before anything is given for
 * it: after a crash it cannot be used for a second key. One process at a time may have it open.
 */
export class TokenFile {
  readonly #store: Files;
  readonly #path: Place;
  #book: TokenBook;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(store: Files, path: Place, book: TokenBook) {
    this.#store = store;
    this.#path = path;
    this.#book = book;
  }

  /** Nothing at `path` is an empty book. @throws TrustError `trust/token-book`, StorageError */
  static async open(store: Files, path: Place): Promise<TokenFile> {
    if ((await store.identity(path)) === undefined) return new TokenFile(store, path, new TokenBook());
    const text = Buffer.from(await readWhole(store, path, BOOK_BYTES_LIMIT)).toString("utf8");
    return new TokenFile(store, path, TokenBook.parse(text));
  }

  /** @throws as TokenBook.create, StorageError */
  create(wish: TokenWish, nowMs: number): Promise<Secret> {
    return this.#change((book) => book.create(wish, nowMs));
  }

  /** @throws as TokenBook.redeem, StorageError */
  redeem(token: Secret, keyDigest: string, nowMs: number): Promise<TokenRecord> {
    return this.#change((book) => book.redeem(token, keyDigest, nowMs));
  }

  /** One after another; what could not be made durable did not happen. */
  #change<T>(decide: (book: TokenBook) => T): Promise<T> {
    const turn = this.#last.then(async () => {
      const book = new TokenBook(this.#book.records);
      const result = decide(book);
      await writeWhole(this.#store, this.#path, Buffer.from(book.toText()), { ownerOnly: true });
      this.#book = book;
      return result;
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
