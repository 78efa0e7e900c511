import type { Timers } from "../../wire/index.ts";
import { WorkerError } from "../index.ts";
import type { Connection } from "./connection.ts";

/** One attempt has so long before the next one is made beside it: a packet that a router swallows is sent again by TCP after 1, 3, 7 s. */
export const ATTEMPT_MS = 2_500;
/** For so long it may still be the first: a link may be slow, or a thousand others come at the same time. */
const KEPT_MS = 10_000;

/**
 * Opens one connection after another until it is known of one whether the other end takes it. Each is a channel of its own: its address is
 * looked up anew, and no back-off of the one before holds it up.
 * @throws WorkerError `worker/unreachable` where nothing has answered for `KEPT_MS`; what `open` throws
 */
export async function dial<Dialed extends Pick<Connection, "tried" | "close">>(
  open: () => Promise<Dialed>,
  timers: Timers,
  address: string,
): Promise<Dialed> {
  const attempts: Dialed[] = [];
  const stops: (() => void)[] = [];
  let over = false;
  const known = new Promise<Dialed>((resolve, reject) => {
    const attempt = async () => {
      const connection = await open();
      if (over) return connection.close();
      attempts.push(connection);
      await connection.tried?.();
      resolve(connection);
    };
    for (let atMs = 0; atMs < KEPT_MS; atMs += ATTEMPT_MS) {
      if (atMs === 0) attempt().catch(reject);
      else stops.push(timers.after(atMs, () => void attempt().catch(reject)));
    }
    stops.push(timers.after(KEPT_MS, () => reject(unanswered(address, stops.length))));
  });
  let first: Dialed | undefined;
  try {
    first = await known;
    return first;
  } finally {
    over = true;
    for (const stop of stops) stop();
    for (const connection of attempts) if (connection !== first) connection.close();
  }
}

function unanswered(address: string, attempts: number): WorkerError {
  return new WorkerError(
    "worker/unreachable",
    `${address} has answered none of ${attempts} attempts to connect for ${KEPT_MS / 1000} s`,
    {
      hint: "Look whether the coordinator runs there, and at firewalls in between; a worker goes on trying.",
      retryable: true,
    },
  );
}
