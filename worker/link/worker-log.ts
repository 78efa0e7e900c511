/** Where a worker says what it does: events by name, facts as data. */
export type WorkerLog = (
  level: "debug" | "info" | "warn" | "error",
  event: string,
  facts?: Readonly<Record<string, unknown>>,
) => void;
