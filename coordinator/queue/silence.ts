/** Since when records have stood unchanged, by our own clock: whoever writes one again and again is alive. */
export class Silence {
  readonly #limitMs: number;
  readonly #heard = new Map<string, { readonly revision: bigint; readonly sinceMs: number }>();

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  /** A record stands at a revision. Returns whether it has for so long that nobody is behind it. */
  isSilent(key: string, revision: bigint): boolean {
    const nowMs = performance.now();
    const before = this.#heard.get(key);
    if (before === undefined || before.revision < revision) {
      this.#heard.set(key, { revision, sinceMs: nowMs });
      return false;
    }
    return nowMs - before.sinceMs >= this.#limitMs;
  }

  forget(key: string): void {
    this.#heard.delete(key);
  }

  /** Keys and revisions of those who are silent. */
  silent(): readonly (readonly [key: string, revision: bigint])[] {
    return [...this.#heard].flatMap(([key, { revision }]) =>
      this.isSilent(key, revision) ? [[key, revision] as const] : [],
    );
  }
}
