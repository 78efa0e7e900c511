import { StorageError } from "../errors.ts";
import { foundOnce } from "../found-once.ts";
import { inParallel } from "../in-parallel.ts";
import { join, type Place, withoutLastSlash } from "../place.ts";
import type { DirectoryEntry, FileIdentity, Readable, ReadOptions, Source } from "../port.ts";
import { readIfShort } from "../whole.ts";
import { identityOf, maybeBeginning, openHttpFile } from "./http-file.ts";
import type { HttpBeginning, HttpRanges } from "./http-ranges.ts";
import { knownNames } from "./known-names.ts";
import { reachFrom } from "./reachable.ts";
import type { HttpTarget } from "./target.ts";

const LOOKS_AT_ONCE = 16;
const INDEX_NAME = "model.safetensors.index.json";
/** Of an index, or of SHA256SUMS. */
const LISTING_MAX_BYTES = 32 * 2 ** 20;
const MEMBER_MAX = 10_000;

/**
 * Files of a web server. A place is an address as it is meant, and not as it is encoded: what stands in its path is a name, "%", "?" and "#"
 * included, and is percent-encoded on the way.
 *
 * A web server has no folders that could be listed. What is taken for one is where files of known names are (`known-names.ts`), and those that
 * an index or a SHA256SUMS among them names: each is looked for.
 */
export class HttpSource implements Source {
  readonly #ranges: HttpRanges;
  readonly #allowed = new Map<string, Promise<void>>();

  constructor(ranges: HttpRanges) {
    this.#ranges = ranges;
  }

  async open(place: Place, { firstBytes = 0 }: ReadOptions = {}): Promise<Readable> {
    return openHttpFile(this.#ranges, await this.#target("open", place), firstBytes);
  }

  async identity(place: Place): Promise<FileIdentity | undefined> {
    const found = await this.#maybeBeginning(place);
    if (found !== undefined) return identityOf(found.state);
    const names = await this.#namesIn(place, ["config.json", INDEX_NAME, "adapter_config.json", "model.safetensors"]);
    return names.length === 0 ? undefined : { kind: "directory", sizeBytes: 0, version: "" };
  }

  async list(folder: Place): Promise<readonly DirectoryEntry[]> {
    const known = await this.#namesIn(folder, knownNames);
    const named = await Promise.all([
      known.includes(INDEX_NAME) ? this.#namesInIndex(join(folder, INDEX_NAME)) : [],
      known.includes("SHA256SUMS") ? this.#namesInSums(join(folder, "SHA256SUMS")) : [],
    ]);
    const more = [...new Set(named.flat())].filter((name) => !knownNames.includes(name));
    const names = [...known, ...(await this.#namesIn(folder, more))];
    if (names.length === 0) {
      throw new StorageError("storage/not-found", `cannot list ${folder}: no file of a model is there`, {
        hint: "A web server cannot be asked what it has: files are looked for by their usual names. Check the address; or name a .safetensors file.",
      });
    }
    return names.sort().map((name) => ({ name, kind: "file" }));
  }

  /** There are no links. Nothing is asked: whoever opens it is told whether it is there. */
  async realPlace(place: Place): Promise<Place> {
    return withoutLastSlash(place);
  }

  /** Which of some names are there, in their order. */
  async #namesIn(folder: Place, names: readonly string[]): Promise<string[]> {
    const found = await inParallel(names, LOOKS_AT_ONCE, async (name) => {
      const beginning = await this.#maybeBeginning(join(folder, name));
      return beginning !== undefined && !isPage(beginning);
    });
    return names.filter((_, k) => found[k]);
  }

  async #namesInIndex(place: Place): Promise<readonly string[]> {
    const text = await this.#textOf(place);
    try {
      const { weight_map: map } = JSON.parse(text) as { readonly weight_map?: unknown };
      const names = typeof map === "object" && map !== null ? Object.values(map) : [];
      return [...new Set(names)].filter(isPlainName).slice(0, MEMBER_MAX);
    } catch {
      return []; // whoever reads it says what is wrong with it
    }
  }

  async #namesInSums(place: Place): Promise<readonly string[]> {
    const lines = (await this.#textOf(place)).split("\n");
    const names = lines.map((line) => /^[0-9a-f]{64} [ *](.+)$/.exec(line)?.[1]);
    return names.filter(isPlainName).slice(0, MEMBER_MAX);
  }

  async #textOf(place: Place): Promise<string> {
    const { bytes = new Uint8Array() } = await readIfShort(this, place, LISTING_MAX_BYTES);
    return Buffer.from(bytes).toString("utf8");
  }

  async #maybeBeginning(place: Place): Promise<HttpBeginning | undefined> {
    return maybeBeginning(this.#ranges, await this.#target("examine", place));
  }

  async #target(action: string, place: Place): Promise<HttpTarget> {
    const url = addressOf(action, place);
    if (url.protocol === "http:") await this.#checkUnencrypted(action, place, url);
    const address = { url, headers: {} };
    return { place, address: () => address };
  }

  /** Weights that anybody on the way may exchange are no weights: without TLS in networks of one's own alone. */
  #checkUnencrypted(action: string, place: Place, url: URL): Promise<void> {
    return foundOnce(this.#allowed, url.host, () => checkPrivate(action, place, url));
  }
}

async function checkPrivate(action: string, place: Place, url: URL): Promise<void> {
  const reach = await reachFrom(url).catch((cause: unknown) => {
    const message = `cannot ${action} ${place}: the name ${url.hostname} is not known`;
    throw new StorageError("storage/network", message, { hint: "Check the address.", cause });
  });
  if (reach === "private") return;
  throw new StorageError(
    "storage/denied",
    `cannot ${action} ${place}: without TLS, files are read from networks of one's own alone, and ${url.hostname} is public`,
    { hint: "Write https://." },
  );
}

/** The address of a place. @throws StorageError `storage/not-found` of what no server can be asked for */
function addressOf(action: string, place: Place): URL {
  const [, scheme = "", host = "", path = ""] = /^(https?):\/\/([^/]*)(.*)$/i.exec(place) ?? [];
  const refused = (what: string, hint: string) =>
    new StorageError("storage/not-found", `cannot ${action} ${scheme}://${host.replace(/^.*@/, "")}${path}: ${what}`, {
      hint,
    });
  if (host.includes("@"))
    throw refused("an address holds no name and no password", "Take them out of the address, and of the recipe.");
  const segments = path.split("/");
  if (segments.some((segment) => segment === "." || segment === ".."))
    throw refused('"." and ".." are no names on a server', "Write the address without them.");
  try {
    return new URL(`${scheme}://${host}${segments.map(encodeURIComponent).join("/")}`);
  } catch {
    throw refused("this is no address", "Write https://host/path/.");
  }
}

/** Servers of pages answer with one, and with 200, whatever they are asked for. */
function isPage({ headers }: HttpBeginning): boolean {
  return /^text\/html\b/i.test(headers.get("content-type") ?? "");
}

/** In the folder itself. */
function isPlainName(name: unknown): name is string {
  return typeof name === "string" && name !== "" && !name.includes("/") && name !== "." && name !== "..";
}
