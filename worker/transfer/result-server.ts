import { Server, ServerCredentials, type ServerWritableStream, status } from "@grpc/grpc-js";
import type { AttemptKey } from "../../merge/work/index.ts";
import type { FetchResultRequest, FetchResultResponse } from "../../proto/index.ts";
import type { Source } from "../../storage/index.ts";
import { CertificateStore, checkRole, identityOfCall, serverCredentials, type TrustFiles } from "../../trust/index.ts";
import {
  attemptOf,
  bytesOfHex,
  CHUNK_MESSAGE_MAX_BYTES,
  CHUNKS_IN_FLIGHT_MAX,
  chunksOf,
  fetchResultMethod,
  numberOf,
  StreamWriter,
} from "../../wire/index.ts";

/** A result that may be fetched now. */
export interface OfferedResult {
  readonly bytes: Uint8Array;
  readonly sha256: string;
}

export interface ResultServerOptions {
  readonly store: Source;
  /** HOST:PORT; port 0: the system chooses. */
  readonly address: string;
  /** Without them everybody who can connect may fetch. */
  readonly trust?: TrustFiles;
  /** The result of a granted attempt; undefined where there is none (any more). */
  resultOf(id: AttemptKey): OfferedResult | undefined;
}

export interface ResultServer {
  readonly port: number;
  close(): void;
}

/** The worker's own port, from which the coordinator fetches results: receiving clients are faster than receiving servers. */
export async function serveResults(options: ResultServerOptions): Promise<ResultServer> {
  const { store, address, trust } = options;
  const certificates = trust === undefined ? undefined : await CertificateStore.open(store, trust);
  const server = new Server({ "grpc.max_receive_message_length": CHUNK_MESSAGE_MAX_BYTES });
  server.addService(
    { fetchResult: fetchResultMethod },
    {
      fetchResult: (call: ServerWritableStream<FetchResultRequest, FetchResultResponse>) => {
        fetchResult(call, options, certificates !== undefined).catch(() => call.destroy());
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    const credentials =
      certificates === undefined ? ServerCredentials.createInsecure() : serverCredentials(certificates);
    server.bindAsync(address, credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  return {
    port,
    close: () => {
      server.forceShutdown();
      certificates?.close();
    },
  };
}

async function fetchResult(
  call: ServerWritableStream<FetchResultRequest, FetchResultResponse>,
  { resultOf }: ResultServerOptions,
  authenticated: boolean,
): Promise<void> {
  const fail = (code: status, details: string) => {
    call.emit("error", Object.assign(new Error(details), { code, details }));
  };
  try {
    if (authenticated) checkRole(identityOfCall(call, Date.now()), ["coordinator"], "fetch results");
  } catch (error) {
    return fail(status.PERMISSION_DENIED, error instanceof Error ? error.message : String(error));
  }
  try {
    const id = attemptOf(call.request.id);
    const result = resultOf(id);
    if (result === undefined) return fail(status.NOT_FOUND, `attempt ${id.attempt} at ${id.unit} is not held here`);
    const { bytes, sha256 } = result;
    const offsetBytes = numberOf(call.request.offsetBytes, "an offset");
    if (offsetBytes > bytes.length) {
      return fail(status.OUT_OF_RANGE, `${id.unit} has ${bytes.length} bytes, none from byte ${offsetBytes} on`);
    }
    const writer = new StreamWriter<FetchResultResponse>(call, CHUNKS_IN_FLIGHT_MAX);
    for (const range of chunksOf(offsetBytes, bytes.length - offsetBytes)) {
      // The buffer goes to another slice when the result is dropped.
      if (resultOf(id)?.bytes !== bytes) return fail(status.ABORTED, `attempt ${id.attempt} at ${id.unit} was dropped`);
      const chunk = bytes.subarray(range.offsetBytes, range.offsetBytes + range.sizeBytes) as Buffer;
      await writer.write({ chunk, sha256: Buffer.alloc(0) });
    }
    await writer.write({ chunk: Buffer.alloc(0), sha256: bytesOfHex(sha256) });
    await writer.end();
  } catch {
    // The coordinator has gone; it asks again from where it was.
    call.destroy();
  }
}
