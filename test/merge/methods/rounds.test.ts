import { expect, test } from "vitest";
import { Rounds } from "../../../merge/methods/index.ts";
import type { PlainData, Step, TensorTask } from "../../../merge/work/index.ts";

const TASK = { name: "t" } as TensorTask;

/** Asks twice, folds text in two steps, and settles in two. */
const method = {
  begin: (): Step => ({ request: "first" }),
  *fold(left: PlainData, right: PlainData) {
    yield;
    yield;
    return `${left}${right}`;
  },
  *settle(_task: TensorTask, request: PlainData, whole: PlainData) {
    yield;
    return request === "first" ? { request: `second after ${whole}` } : { verdict: whole, warnings: ["so it is"] };
  },
};

test("all rounds in one place: ranges are folded in their order, and others have their turn between all steps", async () => {
  const rounds = new Rounds(method, TASK, 3);
  const asked: string[] = [];
  let turns = 0;
  const survey = async (range: number) => {
    asked.push(`${rounds.request} ${range} ${rounds.firstRound}`);
    return `${range}`;
  };
  const settled = await rounds.run(survey, () => {
    turns++;
    return undefined;
  });
  expect(settled).toEqual({ verdict: "012", warnings: ["so it is"] });
  expect(asked).toEqual([
    ...[0, 1, 2].map((range) => `first ${range} true`),
    ...[0, 1, 2].map((range) => `second after 012 ${range} false`),
  ]);
  // In each round two folds of two steps, and one step before it is settled.
  expect(turns).toBe(2 * (2 * 2 + 1));
});

test("a method that asks nothing has its verdict at once, and no round", async () => {
  const rounds = new Rounds({ ...method, begin: (): Step => ({ verdict: "known" }) }, TASK, 3);
  const never = () => Promise.reject(new Error("nothing is to be surveyed"));
  expect(await rounds.run(never)).toEqual({ verdict: "known" });
  expect(rounds.round).toBe(0);
});
