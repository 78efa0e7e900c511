/** What a thread cannot go on after: it ends, and its pool hears of it. */
export function endThread(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}
