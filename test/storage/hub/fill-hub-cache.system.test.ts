/** What is put into the Hub's cache is what Python's huggingface_hub puts there, and finds. */
import { readdirSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { HttpRanges } from "../../../storage/http/http-ranges.ts";
import { fillHubCache } from "../../../storage/hub/fill-hub-cache.ts";
import { HubSource } from "../../../storage/hub/hub-source.ts";
import { FileStore, placeOf } from "../../../storage/index.ts";
import { HubImitation } from "../../support/hub/hub-imitation.ts";
import { runPython } from "../../support/hub/python-hub.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const OFFLINE = `
import json
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
folder = snapshot_download("owner/name", local_files_only=True)
text = open(hf_hub_download("owner/name", "sub/a.txt", local_files_only=True)).read()
(repo,) = scan_cache_dir().repos
(revision,) = repo.revisions
print(json.dumps([folder.split("/")[-1], text, repo.repo_id, sorted(revision.refs), len(revision.files)]))
`;

const ONLINE = `
from huggingface_hub import snapshot_download
snapshot_download("owner/name")
print("null")
`;

/** Files, links with what they lead to, and sizes. */
function layoutOf(repository: string): Record<string, string | number> {
  const names = ["blobs", "refs", "snapshots"].flatMap((name) =>
    readdirSync(join(repository, name), { recursive: true, withFileTypes: true }).flatMap((entry) => {
      const path = join(entry.parentPath, entry.name);
      if (entry.isDirectory()) return [];
      return [
        [path.slice(repository.length), entry.isSymbolicLink() ? readlinkSync(path) : statSync(path).size] as const,
      ];
    }),
  );
  return Object.fromEntries(names.sort());
}

test("Python finds what was put there, adds nothing to it, and would have put it so", async () => {
  const hub = await HubImitation.start();
  const repository = hub.repository("owner/name");
  const commit = repository.commit({
    "config.json": "{}",
    "model.safetensors": Buffer.alloc(100_000, 7),
    "sub/a.txt": "x",
  });
  const [home, other] = [temporaryFolder(), temporaryFolder()];
  const environment = { HF_ENDPOINT: hub.url, HOME: home };
  const source = new HubSource({ http: new HttpRanges({ environment: {} }), files: new FileStore(), environment });
  await fillHubCache(source, placeOf(`hf://owner/name@${commit}`), {
    ...{ cache: placeOf(join(home, "hub")), model: { id: "owner/name", revision: commit, path: "" }, ref: "main" },
    wants: () => true,
  });
  const own = join(home, "hub", "models--owner--name");
  const layout = layoutOf(own);
  expect(await runPython(OFFLINE, [], { endpoint: hub.url, home, environment: { HF_HUB_OFFLINE: "1" } })).toEqual([
    ...[commit, "x", "owner/name", ["main"], 3],
  ]);
  const before = hub.requests.filter(({ origin }) => origin === "storage").length;
  await runPython(ONLINE, [], { endpoint: hub.url, home });
  expect(layoutOf(own)).toEqual(layout);
  expect(hub.requests.filter(({ origin }) => origin === "storage")).toHaveLength(before);
  await runPython(ONLINE, [], { endpoint: hub.url, home: other });
  expect(layoutOf(join(other, "hub", "models--owner--name"))).toEqual(layout);
});
