/** docs/guide.md lists them. */
export const exitCodes = { done: 0, failed: 1, usage: 2, damaged: 3, interrupted: 130, terminated: 143 } as const;
