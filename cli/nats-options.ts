import { type Command, Option } from "commander";
import { coordinatorDefaults } from "../options/index.ts";

export function withNats(command: Command): Command {
  return command
    .addOption(
      new Option("--nats <urls>", "NATS servers: nats://host:4222 or tls://host:4222, commas between").env(
        "DELTAWORKS_NATS",
      ),
    )
    .addOption(
      new Option("--nats-prefix <name>", "what our subjects and streams begin with")
        .env("DELTAWORKS_NATS_PREFIX")
        .default(coordinatorDefaults.natsPrefix),
    )
    .addOption(new Option("--nats-creds <file>", "credentials: JWT and seed").env("DELTAWORKS_NATS_CREDS"))
    .addOption(new Option("--nats-nkey <file>", "credentials: the seed of an nkey").env("DELTAWORKS_NATS_NKEY"))
    .addOption(
      new Option("--nats-user-file <file>", "credentials: user and password, on two lines").env(
        "DELTAWORKS_NATS_USER_FILE",
      ),
    )
    .addOption(new Option("--nats-ca <file>", "authority of the servers' certificates, PEM").env("DELTAWORKS_NATS_CA"))
    .addOption(new Option("--nats-cert <file>", "own certificate for mutual TLS, PEM").env("DELTAWORKS_NATS_CERT"))
    .addOption(new Option("--nats-key <file>", "its private key, PEM").env("DELTAWORKS_NATS_KEY"));
}
