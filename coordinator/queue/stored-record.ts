import type { Json } from "../../merge/work/index.ts";
import { type JobId, type JobRecord, type NewJob, PRIORITY_MAX } from "./job-queue.ts";

/** Fields that are not known are kept: a version need only change where a meaning does. */
export const RECORD_VERSION = 1;

/** What is wrong with something that should be a record; a part of a sentence. */
export class RecordFault extends Error {
  override readonly name = "RecordFault";
  /** Set where it is a record, of a version that is not known here. */
  readonly version: Json | undefined;

  constructor(message: string, version?: Json) {
    super(message);
    this.version = version;
  }
}

type Fields = { readonly [key: string]: Json };

export function textOfRecord(job: JobRecord): string {
  return JSON.stringify({ version: RECORD_VERSION, ...job });
}

/** @throws RecordFault */
export function recordOfText(text: string): JobRecord {
  const fields = fieldsOf(text, "job");
  const { state, wish } = fields;
  if (state !== "queued" && state !== "claimed" && state !== "ended") throw unfit("state", state);
  if (wish !== "none" && wish !== "pause" && wish !== "cancel" && wish !== "terminate") throw unfit("wish", wish);
  if (typeof fields.claims !== "number" || !(fields.claims >= 0)) throw unfit("claims", fields.claims);
  const { holder, claim, outcome, resumes, warnings = [] } = fields;
  if (resumes !== undefined && typeof resumes !== "number") throw unfit("resumes", resumes);
  if (!isTexts(warnings)) throw unfit("warnings", fields.warnings);
  if (holder !== undefined && typeof holder !== "string") throw unfit("holder", holder);
  if (claim !== undefined && typeof claim !== "string") throw unfit("claim", claim);
  if (outcome !== undefined && typeof outcome !== "string") throw unfit("outcome", outcome);
  if (state === "ended" && outcome === undefined) throw unfit("outcome", outcome);
  const submittedAt = stringIn(fields, "submittedAt");
  if (Number.isNaN(Date.parse(submittedAt))) throw unfit("submittedAt", submittedAt);
  const { version: _, nameTaken: __, ...unknown } = fields;
  return {
    ...unknown,
    ...jobIn(fields),
    ...{ id: stringIn(fields, "id") as JobId, submittedAt, state, wish, claims: fields.claims },
    ...(resumes === undefined ? {} : { resumes }),
    ...(holder === undefined ? {} : { holder }),
    ...(claim === undefined ? {} : { claim }),
    ...(outcome === undefined ? {} : { outcome }),
    ...(fields.detail === undefined ? {} : { detail: fields.detail }),
    ...(warnings.length === 0 ? {} : { warnings }),
  };
}

/** Of a submission that is being planned. Its state is not known to versions before reservations, which take it for a job that waits. */
export interface StoredPlanning {
  readonly id: JobId;
  readonly holder: string;
  readonly job: NewJob;
}

/** Without the recipe: it is not needed, and long. */
export function textOfPlanning({ id, holder, job }: StoredPlanning): string {
  const record = { ...job, recipe: "", options: { requestId: job.requestId ?? "" }, id, holder };
  const asJob = { submittedAt: new Date().toISOString(), state: "planning", wish: "none", claims: 0 };
  return JSON.stringify({ version: RECORD_VERSION, ...record, ...asJob });
}

/** @throws RecordFault */
export function planningOfText(text: string): StoredPlanning {
  const fields = fieldsOf(text, "submission");
  const job = { ...jobIn(fields), nameTaken: "refuse" } as const;
  return { id: stringIn(fields, "id") as JobId, holder: stringIn(fields, "holder"), job };
}

function fieldsOf(text: string, what: string): Fields {
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch {
    throw new RecordFault("it is no JSON");
  }
  if (!isObject(value) || value.version === undefined) throw new RecordFault(`it holds no ${what}`);
  if (value.version === RECORD_VERSION) return value;
  const found = JSON.stringify(value.version);
  throw new RecordFault(`it has format version ${found}, not ${RECORD_VERSION}`, value.version);
}

function jobIn(fields: Fields): Omit<NewJob, "nameTaken"> {
  const { priority, options, plan, place } = fields;
  if (typeof priority !== "number" || !Number.isInteger(priority) || priority < 0 || priority > PRIORITY_MAX) {
    throw unfit("priority", priority);
  }
  if (options === undefined) throw unfit("options", options);
  if (plan !== undefined && typeof plan !== "string") throw unfit("plan", plan);
  const requestId = fields.requestId ?? earlierRequestId(options);
  if (requestId !== undefined && typeof requestId !== "string") throw unfit("requestId", requestId);
  return {
    ...{ name: stringIn(fields, "name"), priority, recipe: stringIn(fields, "recipe"), options },
    ...{ out: placeIn("out", fields.out), submitter: stringIn(fields, "submitter") },
    ...(plan === undefined ? {} : { plan }),
    ...(requestId === undefined || requestId === "" ? {} : { requestId }),
    ...(place === undefined ? {} : { place: placeIn("place", place) }),
  };
}

/** Earlier versions kept it among the options. */
function earlierRequestId(options: Json): Json | undefined {
  return isObject(options) && typeof options.requestId === "string" ? options.requestId : undefined;
}

function placeIn(name: string, value: Json | undefined): { readonly root: string; readonly path: string } {
  if (value === undefined || !isObject(value)) throw unfit(name, value);
  return { root: stringIn(value, "root"), path: stringIn(value, "path") };
}

function stringIn(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value === "string") return value;
  throw unfit(name, value);
}

function isTexts(value: Json): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === "string");
}

function isObject(value: Json): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function unfit(name: string, value: Json | undefined): RecordFault {
  const found = value === undefined ? "missing" : JSON.stringify(value).slice(0, 60);
  return new RecordFault(`its ${JSON.stringify(name)} is ${found}`);
}
