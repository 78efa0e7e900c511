import type { AskingClient, ClientAnswer, ClientQuestion } from "../../storage/http/client.ts";
import { HttpRanges } from "../../storage/http/http-ranges.ts";
import { S3Buckets } from "../../storage/s3/s3-buckets.ts";
import { S3Objects } from "../../storage/s3/s3-objects.ts";
import { refusal, type S3Answer, type S3Asked, S3Service, type StoredObject } from "../support/s3-service.ts";
import { asBuggyClient, asBuggyObjects, type BucketBug } from "./bucket-bugs.ts";
import type { BucketFaultKind } from "./bucket-faults.ts";
import { PART_BYTES } from "./bucket-merge.ts";
import { Process } from "./process.ts";
import { times, World } from "./world.ts";

/** A question that its process had sent when it died, or gave up, is heard within this time or not at all. */
const ABANDONED_MS = 50;
/** Of a seed; each costs a run. */
const CRASHES_MAX = 6;
/** A slice that is found damaged more often ends its merge. */
const ROTS_MAX = 2;

/** What a change of the bucket was: an object that was put, replaced or removed. */
export interface BucketChange {
  readonly path: string;
  readonly before: StoredObject | undefined;
  readonly after: StoredObject | undefined;
  /** Undefined: by nobody of ours. */
  readonly by: Process | undefined;
}

/** Processes and one bucket, behind the program's own client of S3 but for its sockets. */
export class BucketWorld extends World {
  readonly service: S3Service;
  readonly bug: BucketBug | undefined;
  readonly #kinds: ReadonlySet<BucketFaultKind>;
  onChange: (change: BucketChange) => void = () => {};
  /** Told of what a process did not find. */
  onMissed: (path: string) => void = () => {};
  /** Processes that read back what they have written: what is damaged where it lies is found by them. */
  readonly sealing = new Set<Process>();
  #crashes = 0;
  #rots = 0;

  constructor(
    random: () => number,
    kinds: ReadonlySet<BucketFaultKind>,
    bug: BucketBug | undefined,
    trace: string[] | undefined,
  ) {
    super(random, new Set(), trace);
    this.#kinds = kinds;
    this.bug = bug;
    this.service = new S3Service({
      completedAgain: (["same", "unknown", "refused"] as const)[Math.floor(random() * 3)] ?? "same",
      listsHashes: random() < 0.8,
      partMinBytes: PART_BYTES,
      pageMax: random() < 0.3 ? 2 : 1000,
      now: () => new Date(this.scheduler.nowMs),
    });
  }

  /** Names that are drawn anew in every process, and what is made of them, are no part of a story. */
  override log(who: string, what: string): void {
    super.log(who, what.replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|[0-9a-f]{32,64}/g, "…"));
  }

  hits(kind: BucketFaultKind, chance: number): boolean {
    if (!this.faulty || !this.#kinds.has(kind) || this.random() >= chance) return false;
    this.noteFault(kind);
    return true;
  }

  noteFault(kind: BucketFaultKind): void {
    this.happened.set(kind, (this.happened.get(kind) ?? 0) + 1);
    this.log("FAULT", kind);
  }

  isOn(kind: BucketFaultKind): boolean {
    return this.#kinds.has(kind);
  }

  /** Objects as a process reaches them. */
  objectsFor(process: Process): S3Objects {
    const client = new SimulatedClient(this, process);
    const ranges = new HttpRanges({
      environment: {},
      seams: {
        client: asBuggyClient(client, this.bug),
        pause: () => new Promise((resolve) => process.after(this.between(1, 20), resolve)),
      },
    });
    const settings = {
      ...{ profile: "default", region: "us-east-1", endpoint: new URL("http://s3.test"), addressing: undefined },
      ...{ requesterPays: false, encryption: undefined, otherWay: undefined },
      keys: { accessKeyId: "id", secretAccessKey: "simulated" },
    };
    return asBuggyObjects(new S3Objects(new S3Buckets(ranges, async () => settings)), this.bug);
  }

  /** What a question does, at the moment when it is heard. */
  answer(asked: S3Asked, by: Process | undefined): S3Answer {
    const path = new URL(asked.path, "http://s3").pathname;
    const before = this.service.objects.get(path);
    const answer = this.service.answer(asked);
    const after = this.service.objects.get(path);
    if (asked.method === "GET" && answer.status === 404 && by !== undefined) this.onMissed(path);
    if (before !== after) {
      this.#rot(path, by);
      this.onChange({ path, before, after: this.service.objects.get(path), by });
    }
    return answer;
  }

  /** Somebody else puts or removes something. */
  byOthers(method: "PUT" | "DELETE", path: string, bytes: Uint8Array = new Uint8Array()): void {
    this.answer({ method, path, headers: {}, body: bytes }, undefined);
  }

  /** Where an object of the stage lies that is read back before it counts. */
  #rot(path: string, by: Process | undefined): void {
    const object = this.service.objects.get(path);
    if (object === undefined || by === undefined || !this.sealing.has(by)) return;
    if (!/\/stage\/[^/]*\.safetensors$/.test(path) || this.#rots >= ROTS_MAX || !this.hits("rot", 0.3)) return;
    this.#rots++;
    const bytes = Uint8Array.from(object.bytes);
    const at = Math.floor(this.random() * bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    this.service.objects.set(path, { ...object, bytes });
  }

  crashes(): boolean {
    if (this.#crashes >= CRASHES_MAX || !this.hits("crash", 0.02)) return false;
    this.#crashes++;
    return true;
  }
}

/** The network between a process and the bucket. */
class SimulatedClient implements AskingClient {
  readonly #world: BucketWorld;
  readonly #process: Process;

  constructor(world: BucketWorld, process: Process) {
    this.#world = world;
    this.#process = process;
  }

  ask({ method, url, headers, body }: ClientQuestion): Promise<ClientAnswer> {
    const [world, process] = [this.#world, this.#process];
    const asked = { method, path: `${url.pathname}${url.search}`, headers, body: bytesOfBody(body) };
    world.log(process.name, `${method} ${decodeURIComponent(asked.path)}${shown(headers)}`);
    return new Promise((resolve, reject) => {
      if (world.crashes()) {
        world.log(process.name, "is killed at that");
        // It was on its way, or was not.
        if (world.random() < 0.6)
          world.scheduler.after(world.between(0, ABANDONED_MS), () => world.answer(asked, process));
        process.kill();
        return;
      }
      const fail = (what: string) => process.deliver(() => reject(new Error(`${what} (simulated)`)));
      process.after(times.callMs, () => fail("the server says nothing"));
      if (world.hits("lost-question", 0.03)) return;
      const arrivesMs = world.hits("slow-answer", 0.05)
        ? world.between(times.callMs / 2, times.callMs + ABANDONED_MS)
        : world.between(0.3, 3);
      world.scheduler.after(arrivesMs, () => {
        const isAbandoned = !process.alive && world.scheduler.nowMs - process.diedMs > ABANDONED_MS;
        if (isAbandoned || (!process.alive && world.random() < 0.3)) return;
        const answer = this.#heard(asked);
        if (world.hits("lost-answer", 0.04)) return fail("the connection was reset");
        world.scheduler.after(world.between(0.3, 2), () => {
          world.log(process.name, `   ${answer.status} to ${method} ${decodeURIComponent(asked.path)}`);
          process.deliver(() => resolve(this.#given(answer)));
        });
      });
      if (world.hits("stop", 0.01)) {
        process.stop();
        const lastsMs = Math.min(world.between(20, 600), Math.max(1, times.faultsEndMs - world.scheduler.nowMs));
        world.scheduler.after(lastsMs, () => process.continue());
      }
    });
  }

  close(): void {}

  #heard(asked: S3Asked): S3Answer {
    const [world, process] = [this.#world, this.#process];
    if (world.hits("slow-down", 0.03)) return refusal(503, "SlowDown");
    const isWrite = asked.method !== "GET" && asked.method !== "HEAD";
    if (isWrite && world.hits("damaged-on-its-way", 0.05) && asked.body.length > 0) {
      const body = Uint8Array.from(asked.body);
      body[0] = (body[0] ?? 0) ^ 1;
      return world.answer({ ...asked, body }, process);
    }
    if (world.hits("server-fault", 0.03)) {
      if (world.random() < 0.5) world.answer(asked, process);
      return refusal(500, "InternalError");
    }
    const isConditional = asked.headers["if-none-match"] !== undefined || asked.headers["if-match"] !== undefined;
    if (isWrite && isConditional && world.hits("conflict", 0.1)) return refusal(409, "ConditionalRequestConflict");
    const isLong =
      asked.headers["x-amz-copy-source"] !== undefined || (asked.method === "POST" && asked.path.includes("uploadId="));
    if (isLong && world.hits("error-within", 0.15)) {
      if (world.random() < 0.5) world.answer(asked, process);
      return { ...refusal(200, world.random() < 0.5 ? "InternalError" : "SlowDown") };
    }
    if (asked.method === "POST" && asked.path.includes("uploadId=") && world.hits("uploads-ended", 0.05))
      world.byOthers("DELETE", asked.path);
    const answer = world.answer(asked, process);
    return world.hits("asked-twice", 0.05) ? world.answer(asked, process) : answer;
  }

  #given({ status, headers, body }: S3Answer): ClientAnswer {
    const isCut = body.length > 1 && this.#world.hits("cut-answer", 0.02);
    const piece = isCut ? body.subarray(0, body.length >> 1) : body;
    return {
      status,
      headers: new Map(Object.entries(headers)),
      body: {
        async *[Symbol.asyncIterator]() {
          if (piece.length > 0) yield piece;
          if (isCut) throw new Error("the answer was cut (simulated)");
        },
        destroy: () => {},
      },
    };
  }
}

function shown(headers: Readonly<Record<string, string>>): string {
  const names = ["if-match", "if-none-match", "range", "x-amz-copy-source"].filter(
    (name) => headers[name] !== undefined,
  );
  return names.map((name) => ` ${name}: ${headers[name]}`).join("");
}

function bytesOfBody(body: ClientQuestion["body"]): Uint8Array {
  if (body === undefined) return new Uint8Array();
  if (typeof body === "string") return Buffer.from(body);
  if ("pieces" in body) throw new Error("nothing is sent in pieces here");
  return Uint8Array.from(body);
}

export function newProcess(world: World, name: string): Process {
  return new Process(name, world.scheduler, { startMs: world.between(0, 1e6), rate: 1 });
}
