import { join } from "node:path";
import type { Plan } from "../../merge/work/index.ts";
import type { Store } from "../../storage/index.ts";
import { shardPreamble } from "../plan/index.ts";

/** Makes the stage ready: every shard there, of its full size, its header durable. Returns the shards that had to be made. */
export async function prepareStage(store: Store, stage: string, plan: Plan): Promise<readonly number[]> {
  await store.makeDirectory(stage);
  const made: number[] = [];
  for (const [index, shard] of plan.shards.entries()) {
    const path = join(stage, shard.name);
    const there = await store.identity(path);
    if (there?.sizeBytes !== shard.sizeBytes) made.push(index);
    const file = await store.open(path, "write");
    try {
      await file.write(0, shardPreamble(shard.header));
      if (there?.sizeBytes !== shard.sizeBytes) await file.truncate(shard.sizeBytes);
      await file.sync();
    } finally {
      await file.close();
    }
  }
  await store.syncDirectory(stage);
  return made;
}

/** Removes a directory and all that is in it. Nothing there is no error. */
export async function removeTree(store: Store, directory: string): Promise<void> {
  if ((await store.identity(directory)) === undefined) return;
  for (const { name, kind } of await store.list(directory)) {
    const path = join(directory, name);
    if (kind === "directory") await removeTree(store, path);
    else await store.remove(path);
  }
  await store.removeDirectory(directory);
}
