import { InvalidArgumentError, Option } from "commander";
import { formatDuration, maybeDuration } from "../options/index.ts";

/** "90s", "10m", "24h", "7d", as milliseconds. @throws commander's error for anything else */
export function parseDuration(text: string): number {
  const durationMs = maybeDuration(text);
  if (durationMs !== undefined) return durationMs;
  throw new InvalidArgumentError("Write a number and a unit: 90s, 10m, 24h or 7d.");
}

/** Of a certificate: a whole number of days, at most a century. */
export function parseDays(text: string): number {
  const days = Number(text);
  if (/^\d+$/.test(text) && days >= 1 && days <= 36_500) return days;
  throw new InvalidArgumentError("Give a whole number of days, 1 to 36500.");
}

/** A duration, or 0. */
export function parseGrace(text: string): number {
  return text === "0" ? 0 : parseDuration(text);
}

/** An option that takes a duration: help shows its default as people write it. */
export function durationOption(flags: string, about: string, presetMs: number, parse = parseDuration): Option {
  return new Option(flags, about).argParser(parse).default(presetMs, presetMs === 0 ? "0" : formatDuration(presetMs));
}
