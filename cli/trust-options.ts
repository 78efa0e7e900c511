import { type Command, Option } from "commander";
import { coordinatorDefaults, formatDuration } from "../options/index.ts";
import { parseDuration } from "./duration.ts";

export function withTrust(command: Command): Command {
  return command
    .addOption(new Option("--cert <file>", "own certificate, PEM").env("DELTAWORKS_CERT"))
    .addOption(new Option("--key <file>", "its private key, PEM").env("DELTAWORKS_KEY"))
    .addOption(
      new Option("--ca <file>", "certificates of the authorities that peers may come from, PEM").env("DELTAWORKS_CA"),
    )
    .option("--insecure", "speak without TLS also to other machines", false);
}

export function withJoining(command: Command): Command {
  return command
    .addOption(new Option("--join <token>", "join token, for a first certificate").env("DELTAWORKS_JOIN"))
    .addOption(
      new Option("--ca-sha256 <hex>", "fingerprint of the authority that vouches for the coordinator").env(
        "DELTAWORKS_CA_SHA256",
      ),
    )
    .option("--join-address <host:port>", "where the coordinator lets machines join (default: the port after its own)")
    .option("--identity-dir <dir>", "where the certificate of a worker that joined is kept");
}

export function withEnrolling(command: Command): Command {
  return command
    .option("--ca-key <file>", "key of the authority, PEM: this coordinator gives out certificates")
    .option("--join-listen <host:port>", "where machines join with tokens (default: the port after its own)")
    .option(
      "--certificate-ttl <time>",
      `life of the certificates that it gives out (default: ${formatDuration(coordinatorDefaults.certificateTtl)})`,
      parseDuration,
    );
}
