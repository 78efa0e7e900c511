/**
 * A preload (`node --import`) that makes chosen file operations of a process and its threads go wrong. It changes node:fs
 * before the program loads it; the program itself has no switch for this.
 *
 * DELTAWORKS_TEST_FAULTS holds a JSON list of faults:
 *
 *   call    "read", "write", "sync", "truncate", "open", "rename" or "unlink": what fails. sync: fsync and fdatasync alike.
 *   path    A regular expression; the file's whole path is searched for it. (A rename: the path it leads to.)
 *   holds   A regular expression; a write is hit only if its bytes, as text, match.
 *   byte    A place in the file; a read or write is hit only if it moves this byte.
 *   from    The first matching call that is hit, counted from 1. Default 1. Each thread counts for itself.
 *   times   How many calls are hit. Default: all from then on.
 *   thread  "main" or "worker": the threads that are hit. Default: all.
 *   while   A file: the fault is there only while it is, and calls are counted only then. So a test can free the disk.
 *   once    With `while`: the file is removed by whoever is hit, so that of all threads one is.
 *   do      What happens to a call that is hit; one of
 *             "ENOSPC", "EIO", ...   it fails with this error
 *             "flip"                 read, write: a bit of the byte `byte`, or of the first one moved, is flipped on its way
 *             "kill"                 the process is killed before the call
 *             "kill-after"           the process is killed once the call has succeeded
 *             "hang"                 the call never returns; a call that blocks its thread blocks it for good
 *             "slow"                 the call takes `ms` longer
 *             "end-thread"           a blocking write: half of its bytes are written, then the thread that makes it ends
 *
 * Descriptors are named by /proc/self/fd, so this works on Linux only, as the tests that use it do.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { isMainThread } from "node:worker_threads";
import { linuxOnly } from "../../scripts/linux-only.mjs";

linuxOnly("Faults of storage find their files by /proc/self/fd");

const { existsSync, readlinkSync, unlinkSync } = fs;
const faults = JSON.parse(process.env.DELTAWORKS_TEST_FAULTS ?? "[]").map((fault) => ({
  from: 1,
  times: Infinity,
  ...fault,
  seen: 0,
}));
for (const { call, do: what } of faults) {
  if (!["read", "write", "sync", "truncate", "open", "rename", "unlink"].includes(call))
    throw new Error(`no call ${call}`);
  if (typeof what !== "string") throw new Error("a fault without something to do");
}

const numbers = { EIO: -5, EACCES: -13, ENOSPC: -28, EROFS: -30, EDQUOT: -122, ESTALE: -116, ETIMEDOUT: -110 };

function pathOf(target) {
  if (typeof target !== "number") return String(target);
  try {
    return readlinkSync(`/proc/self/fd/${target}`);
  } catch {
    return "";
  }
}

/** Of a read or write whose bytes are given as a view: descriptor, bytes, from, length, position. */
function movesByte([, bytes, from = 0, length = bytes.byteLength - from, position], byte) {
  return typeof position === "number" && byte >= position && byte < position + length;
}

function textOf([, bytes, from = 0, length = bytes.byteLength - from]) {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, length).toString("latin1");
}

/** The fault that hits this call, if one does. All faults that match count it. */
function faultFor(call, target, args) {
  if (!faults.some((fault) => fault.call === call)) return undefined;
  const path = pathOf(target);
  let hit;
  for (const fault of faults) {
    if (fault.call !== call || !new RegExp(fault.path).test(path)) continue;
    if (fault.thread !== undefined && (fault.thread === "main") !== isMainThread) continue;
    if (fault.while !== undefined && !existsSync(fault.while)) continue;
    if (fault.byte !== undefined && !movesByte(args, fault.byte)) continue;
    if (fault.holds !== undefined && !new RegExp(fault.holds).test(textOf(args))) continue;
    fault.seen++;
    if (fault.seen < fault.from || fault.seen >= fault.from + fault.times) continue;
    if (fault.once === true && !takes(fault.while)) continue;
    hit ??= { ...fault, path };
  }
  return hit;
}

function takes(file) {
  try {
    unlinkSync(file);
    return true;
  } catch {
    return false; // another thread was hit
  }
}

function failure(code, syscall, path) {
  const error = new Error(`${code}: injected by a test, ${syscall} '${path}'`);
  return Object.assign(error, { code, errno: numbers[code] ?? -5, syscall, path });
}

const kill = () => process.kill(process.pid, "SIGKILL");
const stop = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
const sleep = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** What is written instead: the caller's own bytes stay as they are. */
function flipped(args, fault) {
  const [descriptor, bytes, from = 0, length = bytes.byteLength - from, ...rest] = args;
  const copy = Buffer.from(new Uint8Array(bytes.buffer, bytes.byteOffset + from, length));
  const at = fault.byte === undefined ? 0 : fault.byte - rest[0];
  if (copy.length > 0) copy[at] ^= 1;
  return [descriptor, copy, 0, length, ...rest];
}

/** What was read comes with another bit. */
function flipRead([, bytes, from = 0, , position], fault) {
  const at = fault.byte === undefined ? 0 : fault.byte - position;
  new Uint8Array(bytes.buffer, bytes.byteOffset + from)[at] ^= 1;
}

/** Calls that block: `name` of node:fs, as operation `call` on its argument number `on`. */
function patchSync(name, call, on = 0) {
  const original = fs[name];
  fs[name] = function (...args) {
    const fault = faultFor(call, args[on], args);
    if (fault === undefined) return original.apply(this, args);
    if (fault.do === "kill") kill();
    if (fault.do === "hang") stop();
    if (fault.do === "slow") sleep(fault.ms);
    if (fault.do === "end-thread") {
      const [descriptor, bytes, from = 0, length = bytes.byteLength - from, position] = args;
      original.call(this, descriptor, bytes, from, Math.floor(length / 2), position);
      process.exit(7);
    }
    if (/^E[A-Z]+$/.test(fault.do)) throw failure(fault.do, name, fault.path);
    const result = original.apply(this, fault.do === "flip" && call === "write" ? flipped(args, fault) : args);
    if (fault.do === "flip" && call === "read") flipRead(args, fault);
    if (fault.do === "kill-after") kill();
    return result;
  };
}

/** Calls that end in a callback. */
function patchCallback(name, call, on = 0) {
  const original = fs[name];
  const patched = function (...args) {
    const fault = faultFor(call, args[on], args);
    if (fault === undefined) return original.apply(this, args);
    const done = args.pop();
    if (fault.do === "kill") kill();
    if (fault.do === "hang") return setInterval(() => undefined, 1 << 30); // it keeps the process up, as a call would
    if (/^E[A-Z]+$/.test(fault.do)) return process.nextTick(done, failure(fault.do, name, fault.path));
    const go = () =>
      original.call(this, ...(fault.do === "flip" && call === "write" ? flipped(args, fault) : args), (...answer) => {
        if (fault.do === "flip" && call === "read" && !answer[0]) flipRead(args, fault);
        if (fault.do === "kill-after" && !answer[0]) kill();
        done(...answer);
      });
    if (fault.do === "slow") return setTimeout(go, fault.ms);
    return go();
  };
  // promisify finds the names of several results in a property of the original.
  Object.defineProperties(patched, Object.getOwnPropertyDescriptors(original));
  fs[name] = patched;
}

/** Calls of fs.promises. */
function patchPromise(name, call, on = 0) {
  const original = fs.promises[name];
  fs.promises[name] = async function (...args) {
    const fault = faultFor(call, args[on], args);
    if (fault === undefined) return original.apply(this, args);
    if (fault.do === "kill") kill();
    if (fault.do === "hang") return new Promise(() => setInterval(() => undefined, 1 << 30));
    if (fault.do === "slow") await new Promise((resolve) => setTimeout(resolve, fault.ms));
    if (/^E[A-Z]+$/.test(fault.do)) throw failure(fault.do, name, fault.path);
    const result = await original.apply(this, args);
    if (fault.do === "kill-after") kill();
    return result;
  };
}

if (faults.length > 0) {
  for (const [name, call, on] of [
    ["read", "read", 0],
    ["write", "write", 0],
    ["fsync", "sync", 0],
    ["fdatasync", "sync", 0],
    ["ftruncate", "truncate", 0],
    ["open", "open", 0],
    ["rename", "rename", 1],
    ["unlink", "unlink", 0],
  ]) {
    patchCallback(name, call, on);
    patchSync(`${name}Sync`, call, on);
  }
  patchPromise("rename", "rename", 1);
  patchPromise("unlink", "unlink", 0);
  syncBuiltinESMExports();
}
