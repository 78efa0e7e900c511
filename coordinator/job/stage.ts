import type { Plan } from "../../merge/work/index.ts";
import { shardPreamble } from "../../plan/index.ts";
import { type Files, join, type Place, parentOf, StorageError } from "../../storage/index.ts";

/** Makes the stage ready: every shard there, of its full size, its header durable. Returns the shards that had to be made. */
export async function prepareStage(store: Files, stage: Place, plan: Plan): Promise<readonly number[]> {
  await makeDurableDirectory(store, stage);
  const made: number[] = [];
  for (const [index, shard] of plan.shards.entries()) {
    const path = join(stage, shard.name);
    const there = await store.identity(path);
    if (there?.sizeBytes !== shard.sizeBytes) made.push(index);
    const file = await store.openForWriting(path);
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

/** Makes a directory, with its parents, whose names survive a power loss: without that all that is put there would not. */
export async function makeDurableDirectory(store: Files, directory: Place): Promise<void> {
  const parents = [parentOf(directory)];
  for (let parent = parentOf(directory); (await store.identity(parent)) === undefined; parent = parentOf(parent)) {
    parents.push(parentOf(parent));
  }
  await store.makeDirectory(directory);
  // The nearest parent also where the directory is there: a run that was killed may have made it and no more.
  for (const parent of parents) {
    try {
      await store.syncDirectory(parent);
    } catch (error) {
      // One may be allowed to pass through a folder and not to open it; whoever made it that way has seen to it.
      if (!(error instanceof StorageError && error.code === "storage/denied")) throw error;
    }
  }
}

/** Removes a directory and all that is in it. Nothing there is no error. */
export async function removeTree(store: Files, directory: Place): Promise<void> {
  if ((await store.identity(directory)) === undefined) return;
  for (const { name, kind } of await store.list(directory)) {
    const path = join(directory, name);
    if (kind === "directory") await removeTree(store, path);
    else await store.remove(path);
  }
  await store.removeDirectory(directory);
}
