/** Faults that are planted to see whether the auditor finds them: patches of what is asked of the store, made here and nowhere in the program. */
import type { AskingClient, ClientAnswer } from "../../storage/http/client.ts";
import { join, type Objects, parentOf, readWhole, StorageError } from "../../storage/index.ts";
import type { S3Objects } from "../../storage/s3/s3-objects.ts";
import type { BucketFaultKind, Scenario } from "./bucket-faults.ts";

export const bucketBugs = [
  "claimed-unconditionally",
  "placed-unconditionally",
  "old-way-in-stays",
  "complete-is-believed",
  "error-within-is-done",
  "uploads-not-given-up",
  "hash-not-sent",
  "unsealed",
  "copied-short",
  "way-in-first",
] as const;

export type BucketBug = (typeof bucketBugs)[number];

/** Where some of them do harm. */
export const bucketBugsIn: {
  readonly [B in BucketBug]?: { scenario?: Scenario; faults?: readonly BucketFaultKind[] };
} = {
  "claimed-unconditionally": { scenario: "rivals" },
  "placed-unconditionally": { scenario: "alone", faults: ["stranger"] },
  "old-way-in-stays": { scenario: "replaced" },
  "complete-is-believed": { scenario: "alone", faults: ["uploads-ended", "server-fault", "lost-answer"] },
  "error-within-is-done": { faults: ["error-within"] },
  "uploads-not-given-up": { scenario: "cancelled" },
  "hash-not-sent": { faults: ["damaged-on-its-way"] },
  unsealed: { scenario: "alone", faults: ["rot"] },
};

const hashHeaders = ["x-amz-checksum-sha256", "x-amz-content-sha256", "x-amz-checksum-algorithm"];

/** A client that asks otherwise, or hears otherwise. */
export function asBuggyClient(client: AskingClient, bug: BucketBug | undefined): AskingClient {
  if (bug === "hash-not-sent")
    return {
      ask: (question) => {
        const headers = Object.entries(question.headers).filter(([name]) => !hashHeaders.includes(name));
        return client.ask({ ...question, headers: Object.fromEntries(headers) });
      },
      close: () => client.close(),
    };
  if (bug !== "error-within-is-done") return client;
  return {
    ask: async (question) => believed(await client.ask(question)),
    close: () => client.close(),
  };
}

/** What says 200 is taken for done, whatever stands in it. */
async function believed(answer: ClientAnswer): Promise<ClientAnswer> {
  if (answer.status !== 200) return answer;
  const pieces: Uint8Array[] = [];
  for await (const piece of answer.body) pieces.push(piece);
  const text = Buffer.concat(pieces).toString("utf8");
  const made = ["CompleteMultipartUploadResult", "CopyPartResult"].map((name) => `<${name}><ETag>"x"</ETag></${name}>`);
  const body = text.includes("<Error>") ? Buffer.from(made.join("")) : Buffer.concat(pieces);
  return {
    ...answer,
    body: {
      async *[Symbol.asyncIterator]() {
        yield body;
      },
      destroy: () => {},
    },
  };
}

/** And no question whether conditions are kept to. */
const isClaim = (place: string, bytes: Uint8Array) => place.endsWith("/claim.json") && bytes[0] === 0x7b;
const isAside = (place: string) => place.includes("/.deltaworks/");

/** Objects that do otherwise than they are asked. */
export function asBuggyObjects(objects: S3Objects, bug: BucketBug | undefined): S3Objects {
  const changed: Readonly<Record<string, unknown>> = { ...patchOf(objects, bug) };
  return new Proxy(objects, {
    get: (target, name: keyof S3Objects) =>
      changed[name as keyof Objects] ?? (target[name] as () => unknown).bind(target),
  });
}

function patchOf(objects: S3Objects, bug: BucketBug | undefined): Partial<Objects> {
  switch (bug) {
    case "claimed-unconditionally":
      return {
        put: (place, bytes, condition) => objects.put(place, bytes, isClaim(place, bytes) ? undefined : condition),
      };
    case "placed-unconditionally":
      return {
        put: (place, bytes, condition) => objects.put(place, bytes, isAside(place) ? condition : undefined),
        completeUpload: (place, upload, parts, condition) =>
          objects.completeUpload(place, upload, parts, isAside(place) ? condition : undefined),
      };
    case "old-way-in-stays":
      return {
        remove: async (place, condition) => {
          if (!/\/model\.safetensors(?:\.index\.json)?$/.test(place) || isAside(place))
            await objects.remove(place, condition);
        },
      };
    case "complete-is-believed":
      return {
        completeUpload: async (place, ...rest) => {
          try {
            return await objects.completeUpload(place, ...rest);
          } catch (error) {
            const isUnclear = error instanceof StorageError && (error.retryable || error.code === "storage/not-found");
            if (isUnclear) return '"believed"';
            throw error;
          }
        },
      };
    case "uploads-not-given-up":
      return { abortUpload: async () => {} };
    case "copied-short":
      return {
        copyPart: (place, upload, number, from) =>
          objects.copyPart(place, upload, number, { ...from, sizeBytes: Math.max(1, from.sizeBytes - 1) }),
      };
    case "way-in-first":
      return {
        completeUpload: async (place, ...rest) => {
          const out = parentOf(place);
          const staged = join(out, ".deltaworks/stage", INDEX);
          if (!isAside(place) && (await objects.identity(staged)) !== undefined)
            await objects.put(join(out, INDEX), await readWhole(objects, staged, 1e6));
          return objects.completeUpload(place, ...rest);
        },
      };
    default:
      return {};
  }
}

const INDEX = "model.safetensors.index.json";
