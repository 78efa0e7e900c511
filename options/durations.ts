const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "90s", "10m", "24h", "7d", as milliseconds; undefined for anything else. */
export function maybeDuration(text: string): number | undefined {
  const [, digits, unit = ""] = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text) ?? [];
  const durationMs = Math.round(Number(digits) * (units[unit] ?? Number.NaN));
  return durationMs > 0 ? durationMs : undefined;
}

/** As `maybeDuration` reads it: in the largest unit of which it is a whole number. */
export function formatDuration(durationMs: number): string {
  for (const [unit, unitMs] of Object.entries(units).reverse()) {
    if (durationMs >= unitMs && durationMs % unitMs === 0) return `${durationMs / unitMs}${unit}`;
  }
  return `${durationMs}ms`;
}
