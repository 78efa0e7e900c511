/** A service without a contract, for tests of connections: it says who called, and keeps streams open. */
import {
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  type MethodDefinition,
  Server,
  type ServerCredentials,
  type ServerDuplexStream,
  type ServiceError,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { onTestFinished } from "vitest";
import { channelOptions, identityOfCall } from "../../trust/index.ts";

const identity = (bytes: Buffer) => bytes;
const method = (name: string, streams: boolean): MethodDefinition<Buffer, Buffer> => ({
  path: `/test.Echo/${name}`,
  requestStream: streams,
  responseStream: streams,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
});
export const service = { WhoAmI: method("WhoAmI", false), Talk: method("Talk", true) };

/** "worker w1", "nobody: CODE" */
function whoIs(call: Parameters<typeof identityOfCall>[0]): Buffer {
  try {
    const { role, name } = identityOfCall(call, Date.now());
    return Buffer.from(`${role} ${name}`);
  } catch (error) {
    return Buffer.from(`nobody: ${(error as { code: string }).code}`);
  }
}

export const implementation: UntypedServiceImplementation = {
  WhoAmI: (call: Parameters<typeof identityOfCall>[0], answer: (error: null, value: Buffer) => void) =>
    answer(null, whoIs(call)),
  Talk: (call: ServerDuplexStream<Buffer, Buffer>) => {
    call.on("data", (bytes: Buffer) => call.write(Buffer.concat([whoIs(call), Buffer.from(": "), bytes])));
    call.on("end", () => call.end());
  },
};

/** Listens on 127.0.0.1 until the test ends. Resolves with its port. */
export async function serveEcho(credentials: ServerCredentials): Promise<number> {
  const server = new Server();
  server.addService(service, implementation);
  onTestFinished(() => server.forceShutdown());
  return new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", credentials, (error, port) => (error ? reject(error) : resolve(port)));
  });
}

export class EchoClient {
  readonly #client: Client;

  constructor(port: number, credentials: ChannelCredentials, host = "127.0.0.1") {
    // A pool of its own: clients of one test must not share connections.
    this.#client = new Client(`${host}:${port}`, credentials, {
      "grpc.use_local_subchannel_pool": 1,
      ...channelOptions(host),
    });
    onTestFinished(() => this.#client.close());
  }

  whoAmI(): Promise<string> {
    return new Promise((resolve, reject) => {
      const { path } = service.WhoAmI;
      const deadline = Date.now() + 20_000;
      this.#client.makeUnaryRequest(path, identity, identity, Buffer.alloc(0), { deadline }, (error, value) =>
        error ? reject(error) : resolve(String(value)),
      );
    });
  }

  /** Sends a line and waits for the answer to it, on one stream. */
  talk(): { say(text: string): Promise<string>; end(): void } {
    const stream: ClientDuplexStream<Buffer, Buffer> = this.#client.makeBidiStreamRequest(
      service.Talk.path,
      identity,
      identity,
    );
    let failure: ServiceError | undefined;
    stream.on("error", (error: ServiceError) => {
      failure = error;
    });
    return {
      say: (text) =>
        new Promise((resolve, reject) => {
          if (failure !== undefined) return reject(failure);
          stream.once("data", (bytes: Buffer) => resolve(String(bytes)));
          stream.once("error", reject);
          stream.write(Buffer.from(text));
        }),
      end: () => stream.end(),
    };
  }
}
