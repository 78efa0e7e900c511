import { StorageError } from "../storage/index.ts";
import { type CheckpointCode, CheckpointError } from "./errors.ts";
import type { Folder } from "./folder.ts";
import { JsonBytes } from "./json-bytes.ts";
import { parsePythonJson } from "./python-json.ts";
import type { Sidecar } from "./read-with-state.ts";

const MAX_JSON_BYTES = 10_000_000;
const MAX_JSON_DEPTH = 64;

/** More than any file beside a model nests, and less than Python's own limit. */
const MAX_COPIED_DEPTH = 500;

/** Why Python could not read `bytes` as JSON, with the place; undefined where it can. */
export function jsonFault(bytes: Uint8Array): string | undefined {
  const fail = (_: CheckpointCode, message: string, position: number): never => {
    throw new SyntaxError(`${message} (byte ${position} of ${bytes.length})`);
  };
  try {
    const json = new JsonBytes(bytes, fail);
    json.refuseMark();
    json.skipValue(MAX_COPIED_DEPTH, "python with any key");
    if (json.peek() !== -1) json.unexpected("nothing more");
    return undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return error.message;
    throw error;
  }
}

/** A file of a folder that must hold a JSON object. `code`: of faults that are not those of JSON itself. @throws CheckpointError */
export async function readJsonObject(
  folder: Folder,
  name: string,
  label: string,
  code: "checkpoint/config" | "checkpoint/adapter-config",
): Promise<{ readonly json: Readonly<Record<string, unknown>>; readonly state: Sidecar }> {
  const fail = (fault: CheckpointCode, message: string, position?: number): never => {
    const place = position === undefined ? "" : ` (byte ${position})`;
    throw new CheckpointError(fault, `${label}: ${name}: ${message}${place}`, {
      hint: `Correct ${name} or get it again.`,
    });
  };
  let found: { readonly bytes: Uint8Array; readonly state: Sidecar };
  try {
    found = await folder.readWithState(name, MAX_JSON_BYTES);
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== "storage/too-large") throw error;
    return fail(code, `the file has more than the ${MAX_JSON_BYTES} bytes allowed`);
  }
  const { bytes, state } = found;
  // JSON.parse alone would let through nesting on which whoever walks over the object later would choke.
  const json = new JsonBytes(bytes, fail);
  json.refuseMark();
  if (json.peek() !== 0x7b) fail(code, "it must be a JSON object");
  json.skipValue(MAX_JSON_DEPTH, "python");
  if (json.peek() !== -1) json.unexpected("nothing more");
  return { json: parsePythonJson(new TextDecoder().decode(bytes)) as Record<string, unknown>, state };
}
