import { NatsError, type NatsOptions } from "../coordinator/nats/index.ts";
import { placeOf } from "../storage/index.ts";
import type { NatsSettings } from "./settings.ts";

/** Undefined where no server is named. @throws NatsError `nats/option` */
export function maybeNatsOptions(options: NatsSettings, clientName: string): NatsOptions | undefined {
  const servers = (options.nats ?? "").split(",").filter((server) => server !== "");
  if (servers.length === 0) return undefined;
  const files = [
    { kind: "creds" as const, file: options.natsCreds },
    { kind: "nkey" as const, file: options.natsNkey },
    { kind: "user" as const, file: options.natsUserFile },
  ].flatMap(({ kind, file }) => (file === undefined ? [] : [{ kind, file: placeOf(file) }]));
  if (files.length > 1) {
    throw new NatsError("nats/option", `${files.length} kinds of credentials are given`, {
      hint: "Give one of --nats-creds, --nats-nkey and --nats-user-file.",
    });
  }
  const { natsCa: ca, natsCert: cert, natsKey: key } = options;
  if ((cert === undefined) !== (key === undefined)) {
    throw new NatsError("nats/option", "of certificate and key only one is given", {
      hint: "Give both --nats-cert and --nats-key, or neither.",
    });
  }
  const tls = {
    ...(ca === undefined ? {} : { ca: placeOf(ca) }),
    ...(cert === undefined ? {} : { cert: placeOf(cert) }),
    ...(key === undefined ? {} : { key: placeOf(key) }),
  };
  return {
    servers,
    prefix: options.natsPrefix,
    credentials: files[0],
    tls: Object.keys(tls).length === 0 ? undefined : tls,
    clientName,
  };
}

/** @throws NatsError `nats/option` */
export function natsOptions(options: NatsSettings, clientName: string): NatsOptions {
  const found = maybeNatsOptions(options, clientName);
  if (found !== undefined) return found;
  throw new NatsError("nats/option", "no NATS server is named", { hint: "Give --nats nats://host:4222." });
}
