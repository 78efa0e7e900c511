/*
 * What a command runs is loaded when it is called: a merge on this machine needs no gRPC, NATS or certificates, and waits for none of it.
 */

export const runMerge: typeof import("./merge.ts").runMerge = async (...all) =>
  (await import("./merge.ts")).runMerge(...all);

/** The function itself: whoever prints what is planned waits for nothing. */
export const loadTransferOf = async () => (await import("./transfer.ts")).transferOf;

export const runClean: typeof import("./clean.ts").runClean = async (...all) =>
  (await import("./clean.ts")).runClean(...all);

export const runPublish: typeof import("./publish.ts").runPublish = async (...all) =>
  (await import("./publish.ts")).runPublish(...all);

export const runSweep: typeof import("./sweep.ts").runSweep = async (...all) =>
  (await import("./sweep.ts")).runSweep(...all);

export const repairSource = async (...all: Parameters<typeof import("./repair-source.ts").repairSource>) =>
  (await import("./repair-source.ts")).repairSource(...all);

export const startCoordinator: typeof import("./coordinator.ts").startCoordinator = async (...all) =>
  (await import("./coordinator.ts")).startCoordinator(...all);

export const startWorker: typeof import("./worker.ts").startWorker = async (...all) =>
  (await import("./worker.ts")).startWorker(...all);

export const openDial: typeof import("./open-peer.ts").openDial = async (...all) =>
  (await import("./open-peer.ts")).openDial(...all);

/** @throws NatsError `nats/option` */
export const natsOptions = async (...all: Parameters<typeof import("./open-nats.ts").natsOptions>) =>
  (await import("./open-nats.ts")).natsOptions(...all);
