import { FileStore } from "../file/file-store.ts";
import type { Place } from "../place.ts";
import { parseHubPlace } from "./hub-place.ts";
import type { HubRepository } from "./hub-repository.ts";
import type { Environment } from "./hub-settings.ts";

export interface HubRepositoryOptions {
  readonly environment?: Environment;
  /** Most bytes a second of large files. */
  readonly bandwidthBytes?: number | undefined;
}

/**
 * The repository in which a place lies, to be written to. Nothing is asked yet.
 * @throws StorageError `storage/hub-name`, `storage/hub-settings`
 */
export async function openHubRepository(
  place: Place,
  { environment = process.env, bandwidthBytes }: HubRepositoryOptions = {},
): Promise<HubRepository> {
  const { id } = parseHubPlace(place);
  const [{ HttpRanges }, { HubClient }, { HubRepository }] = await Promise.all([
    import("../http/http-ranges.ts"),
    import("./hub-client.ts"),
    import("./hub-repository.ts"),
  ]);
  const http = new HttpRanges({ environment, bandwidthBytes });
  return new HubRepository(new HubClient(http, new FileStore(), environment), http, place, id);
}
