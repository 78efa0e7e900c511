/** Connections to workers that offer their results: kept from one result to the next, and not for longer than there is a worker. */
import { credentials } from "@grpc/grpc-js";
import { expect, onTestFinished, test } from "vitest";
import { ResultFetcher } from "../../../coordinator/link/index.ts";

/** Nobody listens there. */
async function fetchFrom(fetcher: ResultFetcher, id: string, listenAddress: string): Promise<void> {
  const intake = { sizeOf: () => 1, receivedBytes: () => 0, begin: () => ({ close: async () => {} }) };
  const worker = { id, facts: { listenAddress } };
  const fetched = fetcher.fetch(
    worker as never,
    { id: "j" } as never,
    intake as never,
    { unit: "u", attempt: 1 } as never,
  );
  await expect(fetched).rejects.toMatchObject({ code: "link/unreachable" });
}

test("there is one for each worker, at the address where it listens now, until the worker is forgotten", async () => {
  const dialed: string[] = [];
  const fetcher = new ResultFetcher((address, name) => {
    dialed.push(`${name} ${address}`);
    return { credentials: credentials.createInsecure(), options: {} };
  });
  onTestFinished(() => fetcher.close());
  await fetchFrom(fetcher, "w1", "127.0.0.1:1");
  await fetchFrom(fetcher, "w1", "127.0.0.1:1");
  await fetchFrom(fetcher, "w2", "127.0.0.1:1");
  await fetchFrom(fetcher, "w1", "127.0.0.1:2");
  expect(dialed).toEqual(["w1 127.0.0.1:1", "w2 127.0.0.1:1", "w1 127.0.0.1:2"]);
  expect(fetcher.connections).toBe(2);
  fetcher.forget("w1");
  expect(fetcher.connections).toBe(1);
});
