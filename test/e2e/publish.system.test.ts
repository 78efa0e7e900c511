/** What `deltaworks publish` puts on the Hub is what Python's huggingface_hub downloads there, and what SHA256SUMS says. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { contentsOf } from "../output/fake-output.ts";
import { HubImitation } from "../support/hub/hub-imitation.ts";
import { runPython } from "../support/hub/python-hub.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { MODELS, start } from "./cli-process.ts";

const TOKEN = "hf_canaryOfTheTests";
const RECIPE = `merge_method: linear
models:
  - { model: ${join(MODELS, "tiny-base")}, parameters: { weight: 0.5 } }
  - { model: ${join(MODELS, "tiny-python")}, parameters: { weight: 0.5 } }
`;
const DOWNLOAD = `
import json, sys
from huggingface_hub import ModelCard, snapshot_download
folder = snapshot_download("owner/merged", local_dir=sys.argv[1])
print(json.dumps(ModelCard.load(f"{folder}/README.md").data.to_dict()))
`;

test("a published merge is downloaded whole, with a card that names its parents", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "recipe.yml"), RECIPE);
  const hub = await HubImitation.start({ partBytes: 200_000 });
  hub.user(TOKEN);
  const environment = { HF_ENDPOINT: hub.url, HF_TOKEN: TOKEN, HF_HOME: folder, HF_HUB_OFFLINE: "" };
  const out = join(folder, "out");
  for (const args of [
    ["merge", join(folder, "recipe.yml"), out, "--shard-size", "1MiB"],
    ["publish", out, "hf://owner/merged"],
  ]) {
    const ended = await start(args, { environment }).ended;
    expect(ended.code, ended.stderr).toBe(0);
  }
  const to = join(folder, "downloaded");
  const card = await runPython(DOWNLOAD, [to], { endpoint: hub.url, home: folder, environment: { HF_TOKEN: TOKEN } });
  expect(card).toMatchObject({ base_model: ["tiny-base", "tiny-python"], base_model_relation: "merge" });
  const { ".gitattributes": _, ...downloaded } = Object.fromEntries(
    Object.entries(contentsOf(to)).filter(([name]) => !name.startsWith(".cache/")),
  );
  expect(downloaded).toEqual(
    Object.fromEntries(Object.entries(contentsOf(out)).filter(([name]) => !name.startsWith(".deltaworks/"))),
  );
  execFileSync("sha256sum", ["--check", "--quiet", "SHA256SUMS"], { cwd: to });
});
