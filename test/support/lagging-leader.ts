import type { Nats } from "../../coordinator/nats/index.ts";

/**
 * From now on its stream is read as from a leader that was elected a moment ago and has taken over nothing yet, until a message of
 * the kind is written: then it has taken over all. `r`: records of jobs; `b`: bodies of entries. `caughtUp`: false for one that never does, which lost them. Returns what ends it at once.
 */
export function lagBehind({ manager, client, names }: Nats, kind: "r" | "b", caughtUp = true): () => void {
  const { getMessage, info } = manager.streams;
  const { publish } = client;
  const subjects = `${names.prefix}.${kind}.`;
  const end = () => {
    Object.assign(manager.streams, { getMessage, info });
    client.publish = publish;
  };
  manager.streams.getMessage = async (stream, query) =>
    "last_by_subj" in query && query.last_by_subj?.startsWith(subjects)
      ? null
      : getMessage.call(manager.streams, stream, query);
  manager.streams.info = async (stream, ...rest) => {
    const found = await info.call(manager.streams, stream, ...rest);
    const lags = kind === "r" && stream === names.recordsStream;
    return lags ? { ...found, state: { ...found.state, last_seq: 0 } } : found;
  };
  client.publish = async (subject, ...rest) => {
    const ack = await publish.call(client, subject, ...rest);
    if (caughtUp && subject.startsWith(subjects)) end();
    return ack;
  };
  return end;
}
