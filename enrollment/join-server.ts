import { Server, type ServerCredentials } from "@grpc/grpc-js";
import { type EnrollmentServer, EnrollmentService } from "../proto/index.ts";
import { REQUEST_BYTES_LIMIT } from "../trust/index.ts";

/** The join port is open to everybody: requests are small, and few at once from one connection. */
const LIMITS = {
  "grpc.max_receive_message_length": 4 * REQUEST_BYTES_LIMIT,
  "grpc.max_concurrent_streams": 4,
  "grpc.max_connection_age_ms": 60_000,
  "grpc.max_connection_age_grace_ms": 10_000,
};

/** Serves joining on `address`, with credentials that ask for no certificate. Port 0: the system chooses. */
export async function serveJoining(
  service: EnrollmentServer,
  address: string,
  credentials: ServerCredentials,
): Promise<{ readonly port: number; close(): void }> {
  const server = new Server(LIMITS);
  server.addService(EnrollmentService, service);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address, credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  return { port, close: () => server.forceShutdown() };
}
