import type { Client } from "@grpc/grpc-js";
import { systemTimers } from "../../wire/index.ts";
import type { Connection } from "./connection.ts";
import { dial } from "./dial.ts";

/** A connection that is made anew where it is lost. */
export class Redialed {
  readonly #open: () => Promise<Connection>;
  readonly #address: string;
  #connection: Connection | undefined;
  #dialing: Promise<Connection> | undefined;
  #closed = false;

  constructor(open: () => Promise<Connection>, address: string) {
    this.#open = open;
    this.#address = address;
  }

  /** Of a connection that stands, as far as is known. @throws WorkerError `worker/unreachable`; what opening throws */
  async client(): Promise<Client> {
    if (this.#connection?.isReady?.() === true) return this.#connection.client;
    this.#dialing ??= dial(this.#open, systemTimers, this.#address).finally(() => {
      this.#dialing = undefined;
    });
    const connection = await this.#dialing;
    if (connection !== this.#connection) this.#connection?.close();
    this.#connection = connection;
    if (this.#closed) connection.close();
    return connection.client;
  }

  /** It says nothing any more, though it seems to stand. */
  giveUp(client: Client): void {
    if (this.#connection?.client !== client) return;
    this.#connection.close();
    this.#connection = undefined;
  }

  close(): void {
    this.#closed = true;
    this.#connection?.close();
  }
}
