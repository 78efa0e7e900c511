/** What a coordinator does where nobody says; under the names of its settings. Milliseconds and bytes. */
export const coordinatorDefaults = {
  lease: 30_000,
  ioTimeout: 20_000,
  grace: 20_000,
  jobs: 4,
  keepEnded: 30 * 24 * 3_600_000,
  /** Whoever submits waits for ten minutes. */
  planningTime: 9 * 60_000,
  planningMemory: 2 * 2 ** 30,
  certificateTtl: 24 * 3_600_000,
  natsPrefix: "deltaworks",
} as const;

export const workerDefaults = { grace: 20_000 } as const;
