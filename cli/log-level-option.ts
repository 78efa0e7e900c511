import { Option } from "commander";

export function logLevel(preset: string): Option {
  return new Option("--log-level <level>", "log to stderr from this level on")
    .choices(["silent", "error", "warn", "info", "debug", "trace"])
    .default(preset);
}
