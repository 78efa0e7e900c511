import { expect, test } from "vitest";
import { evaluateSetting, faulty, type Setting } from "../../recipe/parameters.ts";

const gradient: Setting = { kind: "gradient", values: [0, 0.5, 0.3, 0.7, 1] };

// By hand: s = 4 t; between 0.5 and 0.3 at s = 1.6: 0.4 * 0.5 + 0.6 * 0.3.
test.each([
  [0, 0],
  [0.4, (1 - (0.4 * 4 - 1)) * 0.5 + (0.4 * 4 - 1) * 0.3],
  [0.5, 0.3],
  [1, 1],
])("a gradient at t = %d is %d", (t, expected) => {
  expect(evaluateSetting(gradient, "any", t)).toBe(expected);
});

test("a gradient of one number is that number everywhere", () => {
  expect([0, 0.3, 1].map((t) => evaluateSetting({ kind: "gradient", values: [0.7] }, "any", t))).toEqual([
    0.7, 0.7, 0.7,
  ]);
});

test("a list of words gives each its stretch, the last word the last layer", () => {
  const words: Setting = { kind: "words", words: ["l1", "l2", "linf"] };
  expect([0, 0.49, 0.5, 0.99, 1].map((t) => evaluateSetting(words, "any", t))).toEqual([
    "l1",
    "l1",
    "l2",
    "l2",
    "linf",
  ]);
});

test("the first condition whose filter is part of the name wins, whatever follows", () => {
  const setting: Setting = {
    kind: "conditions",
    conditions: [
      { filter: "mlp.down", value: { kind: "scalar", value: 1 } },
      { filter: "mlp", value: gradient },
      { filter: "*", value: { kind: "scalar", value: 3 } },
      { value: { kind: "scalar", value: 4 } },
    ],
  };
  const at = (name: string) => evaluateSetting(setting, name, 0.5);
  expect(at("model.layers.0.mlp.down_proj.weight")).toBe(1);
  expect(at("model.layers.0.mlp.up_proj.weight")).toBe(0.3);
  expect(at("model.norm.weight")).toBe(3);
});

test("a condition without a filter holds for every tensor, none that fits leaves the parameter unset", () => {
  const value = { kind: "scalar", value: 2 } as const;
  expect(evaluateSetting({ kind: "conditions", conditions: [{ value }] }, "any", 0)).toBe(2);
  expect(evaluateSetting({ kind: "conditions", conditions: [{ filter: "x", value }] }, "any", 0)).toBeUndefined();
});

test("a setting that was reported is known as faulty", () => {
  expect(evaluateSetting({ kind: "faulty" }, "any", 0)).toBe(faulty);
});
