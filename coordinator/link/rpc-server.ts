import { BinaryReader } from "@bufbuild/protobuf/wire";
import {
  Server,
  type ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { ReflectionService } from "@grpc/reflection";
import { HealthImplementation } from "grpc-health-check";
import { CONTROL_MESSAGE_MAX_BYTES } from "../../wire/index.ts";

export interface RpcService {
  /** As in proto: "deltaworks.v1.Coordinator". */
  readonly name: string;
  readonly definition: ServiceDefinition;
  readonly handlers: UntypedServiceImplementation;
}

export interface RpcServerOptions {
  readonly services: readonly RpcService[];
  readonly credentials: ServerCredentials;
  /** A FileDescriptorSet: the services describe themselves to whoever asks. */
  readonly descriptors?: Uint8Array | undefined;
  /** How long a connection takes new calls. */
  readonly connectionMs?: number;
}

/** Streams of one connection at once: a worker has a handful, a client of the jobs service too. */
const STREAMS_MAX = 1024;
/**
 * Then a connection takes no new calls, and the next ones come on another: with the certificates of now. Calls in
 * flight, and streams, go on as long as they like.
 */
const CONNECTION_MS = 3_600_000;

/** A port on which services are served, with health; it can be drained. No keepalive of HTTP/2: after a GOAWAY its pings kill calls that could finish. */
export class RpcServer {
  readonly #server: Server;
  readonly #health: HealthImplementation;
  readonly #names: readonly string[];
  readonly #credentials: ServerCredentials;

  constructor({ services, credentials, descriptors, connectionMs = CONNECTION_MS }: RpcServerOptions) {
    this.#credentials = credentials;
    this.#server = new Server({
      "grpc.max_receive_message_length": CONTROL_MESSAGE_MAX_BYTES,
      "grpc.max_concurrent_streams": STREAMS_MAX,
      "grpc.max_connection_age_ms": connectionMs,
      "grpc.enable_channelz": 0,
    });
    for (const { definition, handlers } of services) this.#server.addService(definition, handlers);
    this.#names = ["", ...services.map(({ name }) => name)];
    this.#health = new HealthImplementation(Object.fromEntries(this.#names.map((name) => [name, "NOT_SERVING"])));
    this.#health.addToServer(this.#server);
    if (descriptors !== undefined) reflection(descriptors, services).addToServer(this.#server);
  }

  /** Listens and serves. Returns the port, which the system chose where `address` has port 0. */
  async listen(address: string): Promise<number> {
    const port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(address, this.#credentials, (error, port) =>
        error === null ? resolve(port) : reject(error),
      );
    });
    this.#say("SERVING");
    return port;
  }

  /** From now on nobody should come: those who ask are told. */
  notServing(): void {
    this.#say("NOT_SERVING");
  }

  /** Takes no new connections, lets calls finish for `graceMs`, then ends them. */
  async shutdown(graceMs: number): Promise<void> {
    this.notServing();
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        this.#server.forceShutdown();
        resolve();
      }, graceMs);
      this.#server.tryShutdown(() => resolve());
    });
    clearTimeout(timer);
  }

  #say(status: "SERVING" | "NOT_SERVING"): void {
    for (const name of this.#names) this.#health.setStatus(name, status);
  }
}

/** The set as the reflection service takes it: the bytes of each file. */
function reflection(descriptors: Uint8Array, services: readonly RpcService[]): ReflectionService {
  const files: Buffer[] = [];
  const reader = new BinaryReader(descriptors);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (field === 1) files.push(Buffer.from(reader.bytes()));
    else reader.skip(type);
  }
  const definition = { format: "Protocol Buffer 3 DescriptorProto", type: {}, fileDescriptorProtos: files };
  const about = { "deltaworks.v1": definition } as unknown as ConstructorParameters<typeof ReflectionService>[0];
  return new ReflectionService(about, { services: services.map(({ name }) => name) });
}
