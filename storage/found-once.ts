/**
 * What `find` finds for a key: asked once, for whoever asks while it is looked for and after that. What fails is forgotten, and looked for
 * anew by whoever asks next.
 */
export function foundOnce<K, V>(known: Map<K, Promise<V>>, key: K, find: () => Promise<V>): Promise<V> {
  const before = known.get(key);
  if (before !== undefined) return before;
  const finding = find();
  known.set(key, finding);
  finding.catch(() => known.delete(key));
  return finding;
}
