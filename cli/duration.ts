import { InvalidArgumentError } from "commander";

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "90s", "10m", "24h", "7d", as milliseconds. @throws commander's error for anything else */
export function parseDuration(text: string): number {
  const [, digits, unit = ""] = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text) ?? [];
  const unitMs = units[unit];
  const durationMs = Math.round(Number(digits) * (unitMs ?? Number.NaN));
  if (durationMs > 0) return durationMs;
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

/** As `parseDuration` reads it: in the largest unit of which it is a whole number. */
export function formatDuration(durationMs: number): string {
  for (const [unit, unitMs] of Object.entries(units).reverse()) {
    if (durationMs >= unitMs && durationMs % unitMs === 0) return `${durationMs / unitMs}${unit}`;
  }
  return `${durationMs}ms`;
}
