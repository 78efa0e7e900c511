// The entry of a worker thread whose storage fails as DELTAWORKS_TEST_FAULTS says.
import "../support/storage-faults.mjs";

await import("../../dist/worker/pool/thread.js");
