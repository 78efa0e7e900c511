import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FileStore, placeOf, writeWhole } from "../../storage/index.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

test("what is written for its owner only is readable by nobody else, also over a file that was", async () => {
  const store = new FileStore();
  const path = placeOf(join(temporaryFolder(), "key.pem"));
  const mode = () => statSync(path).mode & 0o777;
  await writeWhole(store, path, Buffer.from("one"), { ownerOnly: true });
  expect(mode()).toBe(0o600);
  // A crash may have left this behind.
  writeFileSync(`${path}.partial`, "half", { mode: 0o644 });
  await writeWhole(store, path, Buffer.from("two"), { ownerOnly: true });
  expect(mode()).toBe(0o600);
  await writeWhole(store, path, Buffer.from("three"));
  expect(mode() & 0o044).not.toBe(0);
});
