/**
 * A preload (`node --import`) that shifts the wall clock of a process and its threads: Date, and nothing else. Monotonic
 * clocks (performance.now, process.hrtime, timers) go on as they do when an administrator or NTP sets the time; so do the
 * clocks of OpenSSL and of the file system, which this cannot reach.
 *
 * DELTAWORKS_TEST_CLOCK names a file that holds the shift in milliseconds. It is read at every look at the clock, so
 * that a test can let it jump while the process runs. No file: no shift.
 */
import { readFileSync } from "node:fs";

const path = process.env.DELTAWORKS_TEST_CLOCK;
const RealDate = Date;

function shiftMs() {
  try {
    return Number(readFileSync(path, "utf8"));
  } catch {
    return 0;
  }
}

const now = () => RealDate.now() + shiftMs();

if (path !== undefined) {
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
    apply: () => new RealDate(now()).toString(),
    get: (target, key, receiver) => (key === "now" ? now : Reflect.get(target, key, receiver)),
  });
  RealDate.prototype.constructor = globalThis.Date;
}
