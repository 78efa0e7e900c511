import { expect, test } from "vitest";
// Behind the door: what a name says decides who is taken for dead.
import { isPredecessor, nameText } from "../../service/coordinator-name.ts";

const me = { state: "0a1b", start: 10 };

test.each([
  ["of the same state, begun before", nameText({ state: "0a1b", start: 9 }), true],
  ["this process", nameText(me), false],
  ["a later one", nameText({ state: "0a1b", start: 11 }), false],
  ["of another state", nameText({ state: "0a1c", start: 9 }), false],
  ["of a state whose name begins alike", nameText({ state: "0a1", start: 1 }), false],
  ["of a version that named processes otherwise", "4711-0a1b", false],
  ["nobody", "", false],
])("%s: whether it is known to have ended", (_, name, expected) => {
  expect(isPredecessor(name, me)).toBe(expected);
});
