import type { RangeConnection } from "./range-connection.ts";

/** Connections that are kept for the next question, of all hosts together at most so many at once. */
export class ConnectionPool {
  readonly #most: number;
  /** Of each key, the one that was used last at the end. */
  readonly #idle = new Map<string, RangeConnection[]>();
  readonly #busy = new Set<RangeConnection>();
  readonly #waiting: (() => void)[] = [];
  #places = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Hands a connection to `act`, one that is idle or one that `make` makes, and waits for a place where all are busy. */
  async use<R>(
    key: string,
    make: () => RangeConnection,
    act: (connection: RangeConnection) => Promise<R>,
    { fresh = false }: { readonly fresh?: boolean } = {},
  ): Promise<R> {
    if (this.#places < this.#most) this.#places++;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const connection = (fresh ? undefined : this.#takeIdle(key)) ?? this.#made(make);
    this.#busy.add(connection);
    try {
      return await act(connection);
    } finally {
      this.#busy.delete(connection);
      if (!connection.isClosed) this.#idle.set(key, [...(this.#idle.get(key) ?? []), connection]);
      const next = this.#waiting.shift();
      if (next === undefined) this.#places--;
      else next();
    }
  }

  /** Gives up what is idle of a key: a server that closed one has closed the others too. */
  forget(key: string): void {
    for (const connection of this.#idle.get(key) ?? []) connection.destroy();
    this.#idle.delete(key);
  }

  close(): void {
    for (const key of [...this.#idle.keys()]) this.forget(key);
    for (const connection of this.#busy) connection.destroy();
  }

  #takeIdle(key: string): RangeConnection | undefined {
    const list = (this.#idle.get(key) ?? []).filter(({ isClosed }) => !isClosed);
    const taken = list.pop();
    if (list.length > 0) this.#idle.set(key, list);
    else this.#idle.delete(key);
    return taken;
  }

  /** Idle ones count too: of the host that was asked longest ago one goes. */
  #made(make: () => RangeConnection): RangeConnection {
    for (const [key, list] of this.#idle) {
      const open = list.filter(({ isClosed }) => !isClosed);
      if (open.length > 0) this.#idle.set(key, open);
      else this.#idle.delete(key);
    }
    const idleCount = [...this.#idle.values()].reduce((sum, { length }) => sum + length, 0);
    if (this.#busy.size + idleCount >= this.#most) {
      const [oldest] = this.#idle.keys();
      if (oldest !== undefined) this.#takeIdle(oldest)?.destroy();
    }
    return make();
  }
}
