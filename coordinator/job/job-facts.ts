import type { Failure } from "../../merge/work/index.ts";
import { type JournalRecord, maybeHolder } from "../journal/index.ts";
import { failureIn, type PublishedFile, publishedFileIn, RecordFields } from "./record-fields.ts";

/** Something that happened to a job for good, as its journal has it, for those who watch. What only leaders need is left out. */
export type JobFact =
  /** A coordinator leads the job from here on: the name of this take-over. */
  | { readonly type: "taken-over"; readonly by: string }
  /** Its plan is fixed. `planSha256`: hex. */
  | { readonly type: "begun"; readonly planSha256: string }
  /** What its method had to know of a tensor is known. `task`: index in the plan. */
  | { readonly type: "tensor-settled"; readonly task: number }
  | { readonly type: "slice-done"; readonly slice: string; readonly worker: string }
  /** Another worker computed the same. */
  | { readonly type: "slice-audited"; readonly slice: string }
  /** Workers computed different bytes; a third one decides. */
  | { readonly type: "slice-disputed"; readonly slice: string; readonly workers: readonly string[] }
  /** Storage gave back other bytes than were written. */
  | { readonly type: "slice-lost"; readonly slice: string }
  | { readonly type: "paused"; readonly cause: Failure }
  | { readonly type: "resumed" }
  | { readonly type: "cancelling" }
  | { readonly type: "cancelled" }
  | { readonly type: "publishing"; readonly files: readonly PublishedFile[] }
  | { readonly type: "published" };

/** Undefined: it is for leaders only. @throws JobError `coordinator/bad-record` */
export function factIn({ entry }: JournalRecord): JobFact | undefined {
  const { subject, body } = entry;
  const [kind, name = ""] = subject.split("/");
  if (kind === "slice") return sliceFact(name, new RecordFields(body, subject));
  if (kind === "verdict") return { type: "tensor-settled", task: Number(name) };
  if (kind !== "job") return undefined;
  const fields = new RecordFields(body, subject);
  const holder = maybeHolder(entry);
  if (holder !== undefined) return { type: "taken-over", by: holder };
  switch (fields.text("state")) {
    case "begun":
      return { type: "begun", planSha256: fields.text("plan") };
    case "paused":
      return { type: "paused", cause: failureIn(fields.object("reason")) };
    case "running":
      return { type: "resumed" };
    case "publishing":
      return { type: "publishing", files: fields.objects("files").map(publishedFileIn) };
    case "done":
      return { type: "published" };
    case "cancelling":
      return { type: "cancelling" };
    case "cancelled":
      return { type: "cancelled" };
    default:
      return undefined;
  }
}

function sliceFact(slice: string, fields: RecordFields): JobFact | undefined {
  switch (fields.text("state")) {
    case "done":
      return { type: "slice-done", slice, worker: fields.has("worker") ? fields.text("worker") : "" };
    case "audited":
      return { type: "slice-audited", slice };
    case "disputed":
      return { type: "slice-disputed", slice, workers: fields.objects("votes").map((vote) => vote.text("worker")) };
    case "lost":
      return { type: "slice-lost", slice };
    default:
      return undefined;
  }
}
