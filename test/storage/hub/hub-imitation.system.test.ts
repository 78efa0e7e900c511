/** What the imitation of the Hub says is what Python's huggingface_hub understands. */
import { expect, test } from "vitest";
import { sha256 } from "../../e2e/cli-process.ts";
import { HubImitation } from "../../support/hub/hub-imitation.ts";
import { runPython } from "../../support/hub/python-hub.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const TOKEN = "hf_canaryOfTheTests";
const WEIGHTS = Buffer.from(Array.from({ length: 50_000 }, (_, k) => k % 251));

const READ = `
import hashlib, json, sys
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
api = HfApi()
info = api.model_info("owner/name")
tree = [(e.path, type(e).__name__, getattr(e, "size", None)) for e in api.list_repo_tree("owner/name", recursive=True)]
paths = [(e.path, e.size, e.lfs.sha256 if e.lfs else None) for e in api.get_paths_info("owner/name", ["model.safetensors", "none"])]
with HfFileSystem().open("owner/name/model.safetensors", "rb", block_size=1000) as f:
    f.seek(20_000)
    part = hashlib.sha256(f.read(3000)).hexdigest()
folder = snapshot_download("owner/name")
whole = hashlib.sha256(open(f"{folder}/model.safetensors", "rb").read()).hexdigest()
old = open(hf_hub_download("owner/name", "config.json", revision=sys.argv[1])).read()
print(json.dumps({"sha": info.sha, "tree": tree, "paths": paths, "part": part, "whole": whole, "old": old, "at": folder.split("/")[-1]}))
`;

const REFUSALS = `
import json, sys
from huggingface_hub import HfApi, hf_hub_download
def kind(call):
    try:
        call()
        return None
    except Exception as error:
        return type(error).__name__
token = sys.argv[1]
api = HfApi()
print(json.dumps([
    kind(lambda: api.model_info("owner/none")),
    kind(lambda: api.model_info("owner/private")),
    kind(lambda: api.model_info("owner/private", token=token)),
    kind(lambda: api.model_info("owner/name", revision="none")),
    kind(lambda: hf_hub_download("owner/name", "none")),
    kind(lambda: hf_hub_download("owner/gated", "config.json")),
    kind(lambda: hf_hub_download("owner/gated", "config.json", token=token)),
    kind(lambda: api.whoami(token="hf_wrong")),
    kind(lambda: api.whoami(token=token)),
]))
`;

test.each([true, false])(
  "files are listed by pages, and read whole or by ranges (Hub's cache %s)",
  async (resolveCache) => {
    const hub = await HubImitation.start({ pageEntries: 2, resolveCache });
    const repository = hub.repository("owner/name");
    const files = { "config.json": "{}", "model.safetensors": WEIGHTS, "folder/a b+c.txt": "x" };
    const first = repository.commit(files);
    const second = repository.commit({ "config.json": '{"a":1}' });
    const read = await runPython(READ, [first], { endpoint: hub.url, home: temporaryFolder() });
    expect(read).toEqual({
      sha: second,
      at: second,
      tree: [
        ["folder", "RepoFolder", null],
        ["config.json", "RepoFile", 7],
        ["folder/a b+c.txt", "RepoFile", 1],
        ["model.safetensors", "RepoFile", WEIGHTS.length],
      ],
      paths: [["model.safetensors", WEIGHTS.length, sha256(WEIGHTS)]],
      part: sha256(WEIGHTS.subarray(20_000, 23_000)),
      whole: sha256(WEIGHTS),
      old: "{}",
    });
  },
);

test("what is missing, private, gated and of a wrong token are told apart, and too many requests are waited for", async () => {
  const hub = await HubImitation.start();
  hub.user(TOKEN);
  hub.repository("owner/name").commit({ "config.json": "{}" });
  hub.repository("owner/private", { private: true, members: [TOKEN] }).commit({ "config.json": "{}" });
  hub.repository("owner/gated", { gated: true }).commit({ "config.json": "{}" });
  expect(await runPython(REFUSALS, [TOKEN], { endpoint: hub.url, home: temporaryFolder() })).toEqual([
    ...["RepositoryNotFoundError", "RepositoryNotFoundError", null, "RevisionNotFoundError"],
    ...["RemoteEntryNotFoundError", "GatedRepoError", "GatedRepoError", "HfHubHTTPError", null],
  ]);
  hub.limit("resolvers", 1);
  const script = `from huggingface_hub import hf_hub_download
print(repr(open(hf_hub_download("owner/name", "config.json")).read()).replace("'", '"'))`;
  expect(await runPython(script, [], { endpoint: hub.url, home: temporaryFolder() })).toBe("{}");
  expect(hub.requests.some(({ status }) => status === 429)).toBe(true);
});
