import { type CheckpointCode, CheckpointError, quoted } from "./errors.ts";
import { MAX_TENSORS, nameFault } from "./header-scan.ts";
import { JsonBytes } from "./json-bytes.ts";

export const INDEX_NAME = "model.safetensors.index.json";
/** As for a header: it lists the same names. */
export const MAX_INDEX_BYTES = 100_000_000;
/** Of what is passed over, `metadata` above all. */
const MAX_DEPTH = 16;

/**
 * The shard of each tensor, as a sharded checkpoint's index gives it: file names relative to the index, checked to stay
 * within its folder. Tensors in the order of the index. `label` names the index in messages.
 * @throws CheckpointError
 */
export function parseShardIndex(text: Uint8Array, label: string): ReadonlyMap<string, string> {
  const fail = (code: CheckpointCode, message: string, position?: number): never => {
    const place = position === undefined ? "" : ` (byte ${position})`;
    throw new CheckpointError(code, `${label}: ${message}${place}`, { hint: indexHint });
  };
  const json = new JsonBytes(text, fail);
  let shards: ReadonlyMap<string, string> | undefined;
  const keys = new Set<string>();
  json.refuseMark();
  if (json.peek() !== 0x7b) fail("checkpoint/index", "the index must be a JSON object");
  json.expect("{", "");
  if (!json.accept("}")) {
    do {
      const key = json.string("as key of the index");
      json.refuseProto();
      if (keys.has(key)) fail("checkpoint/duplicate-key", `the key ${quoted(key)} stands in it twice`, json.position);
      keys.add(key);
      json.expect(":", "after a key");
      if (key === "weight_map") shards = parseWeightMap(json, fail);
      else json.skipValue(MAX_DEPTH, "python");
    } while (json.another("}", "after a member of the index"));
  }
  if (json.peek() !== -1) json.unexpected("nothing more");
  if (shards === undefined || shards.size === 0) return fail("checkpoint/index", '"weight_map" is missing or empty');
  return shards;
}

function parseWeightMap(json: JsonBytes, fail: (code: CheckpointCode, message: string) => never): Map<string, string> {
  const shards = new Map<string, string>();
  /** One string for all entries of a shard. */
  const files = new Map<string, string>();
  if (json.peek() !== 0x7b) fail("checkpoint/index", '"weight_map" must map names of tensors to names of files');
  json.expect("{", "");
  if (json.accept("}")) return shards;
  do {
    const tensor = json.string("as a tensor's name");
    const fault = nameFault(json);
    if (fault !== undefined) fail("checkpoint/tensor-name", `tensor ${quoted(tensor)}: its name ${fault}`);
    json.refuseProto();
    if (shards.has(tensor)) fail("checkpoint/duplicate-tensor", `tensor ${quoted(tensor)} stands in it twice`);
    if (shards.size === MAX_TENSORS) fail("checkpoint/too-many-tensors", `more than ${MAX_TENSORS} tensors`);
    json.expect(":", "after a tensor's name");
    if (json.peek() !== 0x22) fail("checkpoint/index", `the file of tensor ${quoted(tensor)} is no string`);
    const file = json.string("as a file's name");
    if (!files.has(file)) {
      const found = pathFault(file);
      if (found !== undefined) {
        fail("checkpoint/index-path", `tensor ${quoted(tensor)} is said to be in ${quoted(file)}, which ${found}`);
      }
      files.set(file, file);
    }
    shards.set(tensor, files.get(file) ?? file);
  } while (json.another("}", "after an entry of weight_map"));
  return shards;
}

/** What is wrong with a shard's name; undefined if it names a safetensors file in the index's folder or below. */
function pathFault(file: string): string | undefined {
  if (file.length === 0 || file.length > 1024) return "is no file name: it must have 1 to 1024 characters";
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f-\u009f]/.test(file)) return "holds a control character";
  if (file.includes("\\")) return "holds a backslash; folders are parted by /";
  if (file.startsWith("/") || /^[A-Za-z]:/.test(file)) return "is an absolute path; it must be relative to the index";
  const parts = file.split("/");
  if (parts.includes("..")) return "leaves the folder of the index";
  if (parts.includes("") || parts.includes(".")) return "is not in its shortest form";
  if (!file.endsWith(".safetensors")) return "is no .safetensors file";
  return undefined;
}

const indexHint = "The index is damaged or was not written by a safetensors library: get it again, or write it anew.";
