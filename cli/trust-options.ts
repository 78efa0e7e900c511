import { type Command, Option } from "commander";

/** Of every command that speaks to another machine, as commander gives them. */
export interface TrustOptions {
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly ca?: string | undefined;
  readonly insecure: boolean;
}

export function withTrust(command: Command): Command {
  return command
    .addOption(new Option("--cert <file>", "own certificate, PEM").env("DELTAWORKS_CERT"))
    .addOption(new Option("--key <file>", "its private key, PEM").env("DELTAWORKS_KEY"))
    .addOption(
      new Option("--ca <file>", "certificates of the authorities that peers may come from, PEM").env("DELTAWORKS_CA"),
    )
    .option("--insecure", "speak without TLS also to other machines", false);
}
