import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import {
  type Authenticator,
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  errors,
  type NatsConnection,
  nkeyAuthenticator,
  usernamePasswordAuthenticator,
} from "@nats-io/transport-node";
import { type Place, readWhole, type Source } from "../../storage/index.ts";
import { NatsError } from "./errors.ts";
import { type NatsNames, natsNames } from "./names.ts";
import { checkServer } from "./server-features.ts";

/** How to reach NATS. Secrets are in files, never in options, so that no log and no process list shows them. */
export interface NatsOptions {
  /** `nats://host:port` or `tls://host:port`, tried in turn. */
  readonly servers: readonly string[];
  readonly prefix?: string | undefined;
  /** At most one of three: a .creds file (JWT and nkey), the seed of an nkey, or user and password on two lines. */
  readonly credentials?: { readonly kind: "creds" | "nkey" | "user"; readonly file: Place } | undefined;
  /** PEM files; `ca` alone for a server of an own CA, all three for mutual TLS. */
  readonly tls?: { readonly ca?: Place; readonly cert?: Place; readonly key?: Place } | undefined;
  /** As servers list it among their connections. */
  readonly clientName?: string | undefined;
  /** After so long a request counts as unanswered. A leader's failure is noticed by it, so it bounds the gap. */
  readonly requestTimeoutMs?: number;
}

/** An open connection to JetStream, whose server has what is needed. */
export interface Nats {
  readonly connection: NatsConnection;
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
  readonly names: NatsNames;
  readonly requestTimeoutMs: number;
  /** Of the server that was connected to first. */
  readonly serverVersion: string;
  /** What an operator should know about this server, in sentences. */
  readonly warnings: readonly string[];
  close(): Promise<void>;
}

const REQUEST_TIMEOUT_MS = 2000;
const CONNECT_TIMEOUT_MS = 5000;
const RECONNECT_WAIT_MS = 250;
/** A credentials file or certificate is never longer. */
const SECRET_BYTES_MAX = 1024 * 1024;

/**
 * Connects, and stays connected: through any outage it tries again, for ever. Whoever waits for an answer decides how
 * long. @throws NatsError `nats/option`, `nats/unreachable`, `nats/denied`, `nats/too-old`, `nats/no-jetstream`; StorageError
 */
export async function connectNats(store: Source, options: NatsOptions): Promise<Nats> {
  const names = natsNames(options.prefix);
  const connection = await open(await connectionOptions(store, options, names), options.servers);
  try {
    const { version = "", jetstream: enabled } = connection.info ?? {};
    const warnings = checkServer(version, enabled === true, serverOf(connection));
    const timeout = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
    const manager = await jetstreamManager(connection, { timeout, checkAPI: false });
    const client = jetstream(connection, { timeout });
    const close = async () => {
      if (!connection.isClosed()) await connection.close();
    };
    return { connection, client, manager, names, requestTimeoutMs: timeout, serverVersion: version, warnings, close };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

/** The server in use, for messages. */
export function serverOf(connection: NatsConnection): string {
  return connection.getServer();
}

async function open(connectionOptions: ConnectionOptions, servers: readonly string[]): Promise<NatsConnection> {
  try {
    return await connect(connectionOptions);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    if (cause instanceof errors.AuthorizationError || cause instanceof errors.UserAuthenticationExpiredError) {
      throw new NatsError("nats/denied", `${servers.join(", ")} does not let us in: ${reason}`, {
        hint: "Check the credentials file, and that the server knows its user.",
        cause,
      });
    }
    throw new NatsError("nats/unreachable", `cannot connect to ${servers.join(", ")}: ${reason}`, {
      hint: "Check the addresses, that nats-server runs, and TLS: a server that asks for it needs --nats-ca.",
      cause,
    });
  }
}

async function connectionOptions(store: Source, options: NatsOptions, names: NatsNames): Promise<ConnectionOptions> {
  const { credentials, tls, servers, clientName = "deltaworks" } = options;
  for (const server of servers) checkAddress(server);
  const textIn = async (path: Place) => Buffer.from(await readWhole(store, path, SECRET_BYTES_MAX)).toString();
  return {
    servers: [...servers],
    name: clientName,
    inboxPrefix: names.inboxPrefix,
    timeout: CONNECT_TIMEOUT_MS,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_WAIT_MS,
    // A server that comes back may refuse a login while it reads its accounts; one refusal must not end us.
    ignoreAuthErrorAbort: true,
    // A connection that is silently dead is noticed after two of these.
    pingInterval: 5000,
    maxPingOut: 2,
    ...(credentials === undefined
      ? {}
      : { authenticator: authenticatorOf(credentials, await textIn(credentials.file)) }),
    ...(tls === undefined
      ? {}
      : {
          tls: {
            ...(tls.ca === undefined ? {} : { ca: await textIn(tls.ca) }),
            ...(tls.cert === undefined ? {} : { cert: await textIn(tls.cert) }),
            ...(tls.key === undefined ? {} : { key: await textIn(tls.key) }),
          },
        }),
  };
}

function authenticatorOf(
  { kind, file }: { kind: "creds" | "nkey" | "user"; file: string },
  text: string,
): Authenticator {
  if (kind === "creds") return credsAuthenticator(Buffer.from(text));
  if (kind === "nkey") return nkeyAuthenticator(Buffer.from(text.trim()));
  const [user = "", password, ...rest] = text.split("\n").map((line) => line.trimEnd());
  if (user === "" || password === undefined || rest.some((line) => line !== "")) {
    throw new NatsError("nats/option", `${file} does not hold a user and a password, on two lines`, {
      hint: "First line: the user. Second line: the password.",
    });
  }
  return usernamePasswordAuthenticator(user, password);
}

/** A password in an address would be seen in every process list. */
function checkAddress(server: string): void {
  if (!URL.canParse(server) || !/^(?:nats|tls|wss?):$/.test(new URL(server).protocol)) {
    throw new NatsError("nats/option", `${JSON.stringify(server)} is no address of a NATS server`, {
      hint: "Write it as nats://host:4222, or tls://host:4222.",
    });
  }
  const { username, password, host } = new URL(server);
  if (username !== "" || password !== "") {
    throw new NatsError("nats/option", `the address of ${host} holds a user or a password`, {
      hint: "Put them into a file: --nats-user-file, --nats-creds or --nats-nkey.",
    });
  }
}
