/** Where the kernels' own tables end: the arena allocates from here on. */
export function heapBase(): usize {
  return __heap_base;
}

/** Zeroes sizeBytes bytes. */
export function zero(at: usize, sizeBytes: usize): void {
  memory.fill(at, 0, sizeBytes);
}

/** sizeBytes bytes at dst become those at src; no overlap. */
export function copy(dst: usize, src: usize, sizeBytes: usize): void {
  memory.copy(dst, src, sizeBytes);
}
