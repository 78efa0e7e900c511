/**
 * Something that takes long, in steps of a millisecond or less: between them the caller may do something else. `left` and `right` of a
 * fold may be used up.
 */
export type Steps<Result> = Generator<undefined, Result, undefined>;

/** What takes steps, or takes none: plain data. */
export function* stepsOf<Result>(given: Result | Steps<Result>): Steps<Result> {
  return isSteps(given) ? yield* given : given;
}

/** Plain data has no functions. */
function isSteps<Result>(given: Result | Steps<Result>): given is Steps<Result> {
  return typeof given === "object" && given !== null && "next" in given && typeof given.next === "function";
}

/** All steps at once. */
export function resultOf<Result>(steps: Steps<Result>): Result {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}
