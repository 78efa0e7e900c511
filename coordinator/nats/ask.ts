import type { Nats } from "./connect.ts";
import { NatsError } from "./errors.ts";
import { isDenied, Outage } from "./outage.ts";

/** A cluster that has just been started elects its leader within seconds. */
const PATIENCE_MS = 15_000;

/** Asks until there is an answer. @throws NatsError `nats/unreachable`, `nats/denied` */
export async function ask<T>(nats: Pick<Nats, "connection">, what: string, call: () => Promise<T>): Promise<T> {
  const outage = new Outage({
    what,
    connection: nats.connection,
    budgetMs: PATIENCE_MS,
    error: (message, options) =>
      new NatsError(isDenied(options.cause) ? "nats/denied" : "nats/unreachable", message, options),
  });
  for (;;) {
    try {
      return await call();
    } catch (error) {
      await outage.passing(error);
    }
  }
}
