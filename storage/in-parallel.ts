/**
 * Calls `act` for each item, at most `most` at once, and gives what came of them in the order of the items. Where some fail, no more are
 * begun, and the first of these in that order is thrown once all that were begun have ended: the same one, whichever failed first.
 */
export async function inParallel<Item, Result>(
  items: readonly Item[],
  most: number,
  act: (item: Item, index: number) => Promise<Result>,
): Promise<readonly Result[]> {
  const results = new Array<Result>(items.length);
  const failures = new Map<number, unknown>();
  let next = 0;
  const line = async () => {
    while (next < items.length && failures.size === 0) {
      const index = next++;
      try {
        results[index] = await act(items[index] as Item, index);
      } catch (error) {
        failures.set(index, error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, line));
  if (failures.size > 0) throw failures.get(Math.min(...failures.keys()));
  return results;
}
