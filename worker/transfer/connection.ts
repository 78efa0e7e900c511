import {
  type ChannelInterface,
  type ChannelOptions,
  Client,
  type ClientOptions,
  connectivityState,
  credentials,
  InterceptingCall,
  ListenerBuilder,
  Metadata,
  RequesterBuilder,
  status,
} from "@grpc/grpc-js";
import type { Source } from "../../storage/index.ts";
import { CertificateStore, channelCredentials, channelOptions, parseAddress } from "../../trust/index.ts";
import { CONTROL_MESSAGE_MAX_BYTES, FLOW_CONTROL_WINDOW_BYTES, WORKER_KEY } from "../../wire/index.ts";
import type { ConnectionOptions } from "../index.ts";

/** For calls of a connection that has ended to end by themselves. */
const GIVE_UP_MS = 1000;

/** One channel to the coordinator. */
export interface Connection {
  readonly client: Client;
  /** Resolves when other certificates have come in place of those that it was opened with. Never, without TLS. */
  readonly renewed: Promise<void>;
  /** Connects. Resolves once it is known whether the other end takes it. Absent: it is known at once. */
  tried?(): Promise<void>;
  /** Whether it stands, as far as this end knows. Absent: it does. */
  isReady?(): boolean;
  /**
   * Ends the calls under way as well: at a connection that is half open they would wait for their deadlines. `streamsMs`: how long those have
   * that carry bulk bytes, where the connection may only be slow.
   */
  close(streamsMs?: number): void;
}

/** Nothing is sent before the first call. @throws TrustError, StorageError for certificates that cannot be used */
export async function openConnection(
  store: Source,
  { address, workerName, trust }: ConnectionOptions,
  more: ChannelOptions = {},
): Promise<Connection> {
  const { host } = parseAddress(address);
  let tellRenewed: () => void = () => {};
  const renewed = new Promise<void>((resolve) => {
    tellRenewed = resolve;
  });
  const certificates =
    trust === undefined ? undefined : await CertificateStore.open(store, trust, { onChange: () => tellRenewed() });
  const underWay = new Map<InterceptingCall, "call" | "stream">();
  const options: ClientOptions = {
    "grpc-node.flow_control_window": FLOW_CONTROL_WINDOW_BYTES,
    "grpc.max_receive_message_length": CONTROL_MESSAGE_MAX_BYTES,
    "grpc.max_send_message_length": CONTROL_MESSAGE_MAX_BYTES,
    // Each thread its own: one connection has one window, and one event loop at the other end.
    "grpc.use_local_subchannel_pool": 1,
    // Whoever needs a connection dials anew (dial.ts); this one must not lie in wait for long.
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 1_000,
    // Nobody's DNS says how calls are made.
    "grpc.service_config_disable_resolution": 1,
    ...(certificates === undefined ? {} : channelOptions(host)),
    ...more,
    interceptors: [
      (options, next) => {
        const ended = new ListenerBuilder()
          .withOnReceiveStatus((result, proceed) => {
            underWay.delete(call);
            proceed(result);
          })
          .build();
        const requester = new RequesterBuilder()
          .withStart((metadata, _, proceed) => {
            metadata.set(WORKER_KEY, workerName);
            const { requestStream, responseStream } = options.method_definition;
            underWay.set(call, requestStream || responseStream ? "stream" : "call");
            proceed(metadata, ended);
          })
          .build();
        const call = new InterceptingCall(
          open(() => next(options)),
          requester,
        );
        return call;
      },
    ],
  };
  const client = new Client(
    address,
    certificates === undefined
      ? credentials.createInsecure()
      : channelCredentials(certificates, { role: "coordinator", host }),
    options,
  );
  return {
    client,
    renewed,
    tried: () => tried(client.getChannel()),
    isReady: () => client.getChannel().getConnectivityState(false) === connectivityState.READY,
    close: (streamsMs = GIVE_UP_MS) => {
      client.close();
      // Not at once: with a connection that is just being destroyed its calls end by themselves. To cancel them meanwhile was seen
      // to send the process (Node 20) into a loop without end, outside of JavaScript.
      for (const [kind, afterMs] of Object.entries({ call: GIVE_UP_MS, stream: streamsMs })) {
        setTimeout(() => {
          for (const [call, ofKind] of [...underWay]) {
            if (ofKind === kind) call.cancelWithStatus(status.UNAVAILABLE, "the connection was given up");
          }
        }, afterMs).unref();
      }
      certificates?.close();
    },
  };
}

/** Connects. Resolves once it is known whether the other end takes it. */
export async function tried(channel: ChannelInterface): Promise<void> {
  for (;;) {
    const state = channel.getConnectivityState(true);
    const { READY, TRANSIENT_FAILURE, SHUTDOWN } = connectivityState;
    if (state === READY || state === TRANSIENT_FAILURE || state === SHUTDOWN) return;
    await new Promise<void>((resolve) =>
      channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => resolve()),
    );
  }
}

/** A call on a connection that was given up meanwhile fails like one that could not be made: the next connection may take it. */
function open<Call>(call: () => Call): Call {
  try {
    return call();
  } catch (cause) {
    const details = "the connection was given up";
    throw Object.assign(new Error(details, { cause }), { code: status.UNAVAILABLE, details, metadata: new Metadata() });
  }
}
