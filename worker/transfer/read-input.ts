import type { Client } from "@grpc/grpc-js";
import { readInputMethod } from "../../wire/index.ts";
import { WorkerError } from "../index.ts";
import type { InputRange } from "./input-store.ts";
import type { Redialed } from "./redialed.ts";
import { type BackoffOptions, persist } from "./retry.ts";
import type { Pieces } from "./window-cache.ts";

/** A range of a few MiB takes far less. */
const DEADLINE_MS = 60_000;
/** A coordinator that sends nothing for so long is asked anew, on another connection. One read of a slow disk may take long. */
const SILENCE_MS = 20_000;
const BACKOFF: BackoffOptions = { firstMs: 100, mostMs: 5_000 };
/** How long a coordinator may be away before the attempt is given up: leases have lapsed by then. */
const PATIENCE_MS = 120_000;

/** Fetches a range of an input; goes on where it was when the connection breaks. @throws WorkerError, ServiceError */
export async function readInput(
  connection: Pick<Redialed, "client" | "giveUp">,
  job: string,
  range: InputRange,
): Promise<Pieces> {
  const pieces: Uint8Array[] = [];
  let received = 0;
  await persist(
    async () => {
      const client = await connection.client();
      await receive(
        client,
        job,
        { ...range, offsetBytes: range.offsetBytes + received, sizeBytes: range.sizeBytes - received },
        (chunk) => {
          pieces.push(chunk);
          received += chunk.length;
        },
        () => connection.giveUp(client),
      );
    },
    { ...BACKOFF, untilMs: performance.now() + PATIENCE_MS },
  );
  if (received === range.sizeBytes) return pieces;
  throw new WorkerError(
    "worker/damaged-transfer",
    `file ${range.file} of input ${range.input}: ${received} of ${range.sizeBytes} bytes from byte ${range.offsetBytes} on came`,
    {
      hint: "The coordinator's file is shorter than it was when the job began, or its release is another.",
      retryable: true,
    },
  );
}

function receive(
  client: Client,
  job: string,
  range: InputRange,
  take: (chunk: Uint8Array) => void,
  silent: () => void,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  return new Promise<void>((resolve, reject) => {
    const { path, requestSerialize, responseDeserialize } = readInputMethod;
    const call = client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      {
        jobId: job,
        input: range.input,
        file: range.file,
        offsetBytes: BigInt(range.offsetBytes),
        sizeBytes: BigInt(range.sizeBytes),
      },
      { deadline: Date.now() + DEADLINE_MS },
    );
    let left = range.sizeBytes;
    timer = setTimeout(() => {
      silent();
      call.cancel();
    }, SILENCE_MS);
    call.on("data", ({ chunk }) => {
      timer?.refresh();
      left -= chunk.length;
      // More than was asked for is not kept: memory is bounded by what the caller asked.
      if (left >= 0) take(chunk);
      else call.cancel();
    });
    call.on("error", reject);
    call.on("end", resolve);
  }).finally(() => clearTimeout(timer));
}
