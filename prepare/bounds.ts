/** Calls of the store that are under way at once: where they are far it is their number that takes time, not their bytes. */
export const CALLS_AT_ONCE = 32;
/** Models whose tokenizers are read at once, or other files as large: each may have tens of megabytes, and most are found to be the same. */
export const TEXTS_AT_ONCE = 8;
