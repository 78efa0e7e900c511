import { homedir } from "node:os";
import { isWhole, join, type Place, placeOf, schemeOf, wholePlace } from "../storage/index.ts";

const NAME = "deltaworks";

/**
 * Where journals and logs of merges into `out` are kept: `state`, if it is given; of an output that is no folder a folder of the user
 * (XDG_STATE_HOME, or ~/.local/state; on Windows LOCALAPPDATA), which is named by a whole path or not at all. Undefined: in the output's
 * own folder.
 */
export function stateFolder(
  out: Place,
  state: Place | undefined,
  environment: Readonly<Record<string, string | undefined>>,
  platform: NodeJS.Platform,
): Place | undefined {
  if (state !== undefined) return wholePlace(state);
  if (schemeOf(out) === "file") return undefined;
  const { XDG_STATE_HOME: ofUser = "", LOCALAPPDATA: ofWindows = "" } = environment;
  const folder = [ofUser, platform === "win32" ? ofWindows : ""].find(isWhole);
  return folder === undefined ? join(placeOf(homedir()), ".local", "state", NAME) : join(placeOf(folder), NAME);
}
