/**
 * Watches a bucket from outside and says what must never be: it knows what whole outputs hold, and sees every change. It shares no code with
 * those who write.
 */
import type { StoredObject } from "../support/s3-service.ts";
import type { BucketMerge } from "./bucket-merge.ts";
import type { BucketChange, BucketWorld } from "./bucket-world.ts";

const INDEX = "model.safetensors.index.json";
const ONLY = "model.safetensors";
const SUMS = "SHA256SUMS";

/** A whole output that may come to be there. */
export interface WholeOutput {
  readonly name: string;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

export function wholeOutputsOf(merges: readonly BucketMerge[]): readonly WholeOutput[] {
  return merges.flatMap(({ name, files, filesOfFolder }) => [
    { name: `${name}, in parts`, files },
    { name: `${name}, of a folder`, files: filesOfFolder },
  ]);
}

export class BucketAuditor {
  readonly violations: string[] = [];
  readonly #world: BucketWorld;
  readonly #prefix: string;
  readonly #wholes: readonly WholeOutput[];
  /** What SHA256SUMS has ever said to be there. */
  readonly #completed = new Set<string>();
  readonly #strangers = new Map<string, StoredObject>();

  /** `prefix`: path of the output, "/" at its end. */
  constructor(world: BucketWorld, prefix: string, wholes: readonly WholeOutput[]) {
    this.#world = world;
    this.#prefix = prefix;
    this.#wholes = wholes;
    world.onChange = (change) => this.#changed(change);
  }

  violated(what: string): void {
    this.violations.push(what);
    this.#world.log("VIOLATION", what);
  }

  /** Names below the prefix of what readers see. */
  published(): ReadonlyMap<string, Uint8Array> {
    const found = new Map<string, Uint8Array>();
    for (const [path, { bytes }] of this.#world.service.objects)
      if (path.startsWith(this.#prefix) && !path.startsWith(`${this.#prefix}.deltaworks/`))
        found.set(path.slice(this.#prefix.length), bytes);
    return found;
  }

  /** Paths of what is left of work that has not come to its end. */
  left(): readonly string[] {
    const staged = [...this.#world.service.objects.keys()].filter((path) => path.includes("/.deltaworks/"));
    return [...staged, ...this.#world.service.uploads.map(({ path, id }) => `${path} (${id})`)];
  }

  #changed({ path, before, after, by }: BucketChange): void {
    const mine = this.#strangers.get(path);
    if (by === undefined) {
      if (after === undefined) this.#strangers.delete(path);
      else this.#strangers.set(path, after);
    } else if (mine !== undefined && mine === before)
      this.violated(`${by.name} replaced ${path}, which is a stranger's`);
    if (!path.startsWith(this.#prefix) || path.startsWith(`${this.#prefix}.deltaworks/`)) return;
    this.#look(path);
  }

  /** Whoever finds a way in finds all that it leads to; where SHA256SUMS is, nothing else is there. */
  #look(changed: string): void {
    const published = this.published();
    for (const way of [INDEX, ONLY]) {
      if (!published.has(way) || this.#strangers.has(`${this.#prefix}${way}`)) continue;
      const whole = this.#wholes.find(({ files }) => files.has(way) && isHeld(files, published, true));
      if (whole === undefined) this.violated(`after ${changed}: ${way} is there, and not all that it leads to`);
    }
    if (!published.has(SUMS) || this.#strangers.has(`${this.#prefix}${SUMS}`)) return;
    const whole = this.#wholes.find(({ files }) => isHeld(files, published, false));
    const isAlone = whole !== undefined && published.size === whole.files.size + this.#strangersInPlace();
    if (!isAlone) this.violated(`after ${changed}: ${SUMS} is there, and the output is not what it says`);
    else this.#completed.add(whole.name);
  }

  #strangersInPlace(): number {
    return [...this.#strangers.keys()].filter((path) => path.startsWith(this.#prefix)).length;
  }

  /** Somebody was told that it is done. */
  done(who: string, output: string): void {
    if (!this.#completed.has(output)) this.violated(`${who} says that ${output} is done, and it never was there`);
  }

  /** Which output is there, whole; undefined: none. */
  whole(): WholeOutput | undefined {
    const published = this.published();
    return this.#wholes.find(({ files }) => isHeld(files, published, false));
  }
}

function isHeld(
  files: ReadonlyMap<string, Uint8Array>,
  published: ReadonlyMap<string, Uint8Array>,
  butSums: boolean,
): boolean {
  return [...files].every(([name, bytes]) => {
    if (butSums && name === SUMS) return true;
    const there = published.get(name);
    return there !== undefined && Buffer.compare(there, bytes) === 0;
  });
}
