import type { NatsNames } from "./names.ts";

export interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** All that a coordinator does; it makes, changes and removes no stream, and no durable consumer. */
export function coordinatorPermissions(names: NatsNames): Permissions {
  const { prefix, journalStream, jobsStream, recordsStream, inboxPrefix } = names;
  const api = "$JS.API";
  const read = [journalStream, recordsStream].flatMap((stream) =>
    // Consumers that live as long as one reading.
    ["CREATE", "INFO", "MSG.NEXT", "DELETE"].map((verb) => `${api}.CONSUMER.${verb}.${stream}.>`),
  );
  const streams = [journalStream, jobsStream, recordsStream];
  return {
    publish: [
      ...["j", "b", "q", "r"].map((kind) => `${prefix}.${kind}.>`),
      ...streams.flatMap((stream) => [`${api}.STREAM.INFO.${stream}`, `${api}.STREAM.MSG.GET.${stream}`]),
      ...read,
      `${api}.CONSUMER.INFO.${jobsStream}.*`,
      `${api}.CONSUMER.MSG.NEXT.${jobsStream}.*`,
      `$JS.ACK.${jobsStream}.>`,
      `$JS.ACK.*.*.${jobsStream}.>`,
    ],
    subscribe: [`${inboxPrefix}.>`],
  };
}

/** As it stands in the configuration of a nats-server, within a user. */
export function permissionsText({ publish, subscribe }: Permissions): string {
  const list = (subjects: readonly string[]) => subjects.map((subject) => `    ${JSON.stringify(subject)}\n`).join("");
  return `permissions {\n  publish: [\n${list(publish)}  ]\n  subscribe: [\n${list(subscribe)}  ]\n}\n`;
}
