import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FileStore, placeOf } from "../../../storage/index.ts";
import { writeResult } from "../../../worker/link/write-result.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const open = { mayBegin: () => true, began: () => {}, ended: () => {} };

test("a result goes to its place, and not through a link that took the place of the stage since", async () => {
  const folder = temporaryFolder();
  const [stage, secret] = [join(folder, "stage"), join(folder, "secret")];
  for (const directory of [stage, secret]) {
    mkdirSync(directory);
    writeFileSync(join(directory, "shard"), "....");
  }
  const place = { path: placeOf(join(stage, "shard")), offsetBytes: 1 };
  expect(await writeResult(new FileStore(), place, Buffer.from("ab"), open)).toBe(true);
  expect(readFileSync(join(stage, "shard"), "latin1")).toBe(".ab.");
  renameSync(stage, join(folder, "moved"));
  symlinkSync(secret, stage);
  const again = writeResult(new FileStore(), place, Buffer.from("xy"), open);
  await expect(again).rejects.toMatchObject({ code: "storage/link" });
  expect(readFileSync(join(secret, "shard"), "latin1")).toBe("....");
});
