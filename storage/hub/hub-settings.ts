import { homedir } from "node:os";
import { Secret } from "../../trust/secrets/index.ts";
import { StorageError } from "../errors.ts";
import { join, type Place, placeOf } from "../place.ts";
import type { Source } from "../port.ts";
import { readWhole } from "../whole.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** A token, and where it was found, for who is told that it was refused. */
export interface HubToken {
  readonly secret: Secret;
  readonly from: string;
}

export const DEFAULT_ENDPOINT = "https://huggingface.co";
/** Tokens have some 40 characters; those of a browser's login some hundreds. */
const MAX_TOKEN_BYTES = 64 * 1024;

/** Where the Hub is: HF_ENDPOINT, of a mirror or a company's own. No "/" at its end. @throws StorageError `storage/hub-settings` */
export function hubEndpoint(environment: Environment): URL {
  const text = (environment.HF_ENDPOINT || DEFAULT_ENDPOINT).replace(/\/+$/, "");
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.username === "" && url.search === "") return url;
  throw new StorageError("storage/hub-settings", "HF_ENDPOINT is no address of a Hub", {
    hint: `Leave it away for ${DEFAULT_ENDPOINT}; else write https://HOST, without a user or a query.`,
  });
}

/** Whether nothing may be asked of the Hub: HF_HUB_OFFLINE, or TRANSFORMERS_OFFLINE. */
export function isHubOffline(environment: Environment): boolean {
  return isTrue(environment.HF_HUB_OFFLINE || environment.TRANSFORMERS_OFFLINE);
}

/** Where `hf auth login` and the cache lie: HF_HOME, else below XDG_CACHE_HOME or the home folder. */
export function hubHome(environment: Environment): Place {
  const home = placeOf(environment.HOME || homedir());
  const cache = environment.XDG_CACHE_HOME || join(home, ".cache");
  return expanded(environment.HF_HOME || join(placeOf(cache), "huggingface"), environment);
}

/**
 * The token that huggingface_hub would take: HF_TOKEN, else the file of `hf auth login`, HF_TOKEN_PATH or `token` in the Hub's home.
 * Undefined where there is none, and where HF_HUB_DISABLE_IMPLICIT_TOKEN says that none is to be sent unasked.
 * @throws StorageError `storage/hub-settings` of a token that cannot be one, `storage/denied`
 */
export async function maybeHubToken(files: Source, environment: Environment): Promise<HubToken | undefined> {
  if (isTrue(environment.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return undefined;
  for (const name of ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]) {
    const token = tokenIn(environment[name] ?? "", name);
    if (token !== undefined) return token;
  }
  const path = environment.HF_TOKEN_PATH
    ? expanded(environment.HF_TOKEN_PATH, environment)
    : join(hubHome(environment), "token");
  if ((await files.identity(path))?.kind !== "file") return undefined;
  return tokenIn(new TextDecoder().decode(await readWhole(files, path, MAX_TOKEN_BYTES)), path);
}

function tokenIn(text: string, from: string): HubToken | undefined {
  const token = text.replaceAll(/[\r\n]/g, "").trim();
  if (token === "") return undefined;
  // What is no printable ASCII cannot stand in a header, and is not shown: it may be a token all the same.
  if (/^[\x21-\x7e]+$/.test(token)) return { secret: new Secret(token), from };
  throw new StorageError("storage/hub-settings", `${from} holds something that is no token of the Hub`, {
    hint: "Get one with: hf auth login",
  });
}

function isTrue(value: string | undefined): boolean {
  return ["1", "ON", "YES", "TRUE"].includes((value ?? "").toUpperCase());
}

/** "~" and $VARIABLES, as huggingface_hub reads them in paths. */
function expanded(path: string, environment: Environment): Place {
  const home = environment.HOME || homedir();
  const withHome = path === "~" || path.startsWith("~/") ? `${home}${path.slice(1)}` : path;
  return placeOf(
    withHome.replaceAll(/\$(?:(\w+)|\{(\w+)\})/g, (whole, plain?: string, braced?: string) => {
      return environment[plain ?? braced ?? ""] ?? whole;
    }),
  );
}
