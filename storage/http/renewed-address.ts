import type { HttpAddress } from "./target.ts";

/** An address that ends. */
export interface EndingAddress {
  readonly address: HttpAddress;
  /** Until when it is used, since the epoch. */
  readonly untilMs: number;
}

/** Where something is now, asked for anew when its address ends or is refused. */
export class RenewedAddress {
  readonly #ask: () => Promise<EndingAddress>;
  #current: EndingAddress | undefined;
  #asking: Promise<HttpAddress> | undefined;

  constructor(ask: () => Promise<EndingAddress>, first?: EndingAddress) {
    this.#ask = ask;
    this.#current = first;
  }

  /** As of HttpTarget. One question, however many ranges wait for its answer. */
  async address(refused?: HttpAddress): Promise<HttpAddress> {
    const known = this.#current;
    if (known !== undefined && (refused === undefined ? Date.now() < known.untilMs : refused !== known.address))
      return known.address;
    this.#asking ??= this.#anew().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #anew(): Promise<HttpAddress> {
    this.#current = await this.#ask();
    return this.#current.address;
  }
}
