// As faulty-thread.mjs, of a thread that computes several merges in step.
import "../support/storage-faults.mjs";

await import("../../dist/worker/lockstep/thread.js");
