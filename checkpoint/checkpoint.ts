import type { Place, Version } from "../storage/index.ts";
import type { StoredDtype } from "./dtype.ts";
import type { ModelOrigin } from "./model-card.ts";
import type { Sidecar } from "./read-with-state.ts";

/** What a model on disk is, known from headers alone: no tensor byte has been read. Plain data. */
export interface Checkpoint {
  /** Directory that holds the files, links resolved; for a single file the directory it is in. */
  readonly root: Place;
  /** Safetensors files, in the order of their names. */
  readonly files: readonly CheckpointFile[];
  /** By name, in the order of files and of offsets within a file. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  /** config.json as parsed; undefined where there is none (a bare .safetensors file). */
  readonly config: Readonly<Record<string, unknown>> | undefined;
  /**
   * Names of the files beside the weights that belong to the model (tokenizer files, chat template, generation config),
   * sorted; only those present. config.json is not among them.
   */
  readonly companions: readonly string[];
  /** config.json (of an adapter adapter_config.json) and the companions, by name: where they are, and in which state they were found. */
  readonly sidecars?: ReadonlyMap<string, Sidecar>;
  /** Of short companions the bytes, as they stood in that state: they need not be read again to be understood. */
  readonly read?: ReadonlyMap<string, Uint8Array>;
  /**
   * What else lies in the folder that a loader may need and that is not carried along: files, and folders with "/" at the end; and
   * files that the config names and that are not there.
   */
  readonly leftBehind?: readonly string[];
  readonly missingCode?: readonly string[];
  /** What its card says of its licence and its parents. */
  readonly origin?: ModelOrigin | undefined;
  /** Names that the files' metadata gives to tensors that are stored under others. By the name: what it is stored as. */
  readonly aliases?: ReadonlyMap<string, string>;
  /** What stands in the files' metadata, of all files together; keys of which two say different things are among `unclearMetadata`. */
  readonly metadata?: ReadonlyMap<string, string>;
  readonly unclearMetadata?: readonly string[];
  /** Of tensors that may be second copies of others (`copyNames`): whether they are. Undefined where nobody has looked. */
  readonly copies?: ReadonlyMap<string, boolean>;
}

export interface CheckpointFile {
  /** Relative to the root, "/" as separator. */
  readonly name: string;
  /** Where to open it: absolute, links resolved (a Hub snapshot links into blobs/). */
  readonly path: Place;
  readonly sizeBytes: number;
  readonly version: Version;
  /** SHA-256 (lowercase hex) of the length prefix and the header as they stand in the file. */
  readonly headerSha256: string;
}

export interface TensorEntry {
  readonly name: string;
  readonly dtype: StoredDtype;
  readonly shape: readonly number[];
  readonly elementCount: number;
  /** Index into `Checkpoint.files`. */
  readonly file: number;
  /** From the start of the file. */
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}
