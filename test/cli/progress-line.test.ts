import { expect, test } from "vitest";
import { ProgressLine } from "../../cli/progress-line.ts";

function line(terminal: boolean) {
  let nowMs = 0;
  let said = "";
  const stderr = (text: string) => {
    said += text;
  };
  const at = (ms: number) => {
    nowMs = ms;
  };
  const shown = new ProgressLine({ stdout: () => {}, stderr }, terminal, () => nowMs);
  return { shown, at, said: () => said };
}

test("on a terminal it is rewritten in its place, ten times a second at most, and taken off for what is said", () => {
  const { shown, at, said } = line(true);
  shown.show("1/9");
  at(99);
  shown.show("2/9");
  at(100);
  shown.show("3/9");
  shown.say("warning");
  shown.show("4/9");
  shown.clear();
  shown.clear();
  expect(said()).toBe("\r\x1b[K1/9\r\x1b[K3/9\r\x1b[Kwarning\n\r\x1b[K4/9\r\x1b[K");
});

test("elsewhere it is a line each 10 s, where it has changed", () => {
  const { shown, at, said } = line(false);
  shown.show("1/9");
  at(9_999);
  shown.show("2/9");
  at(10_000);
  shown.show("1/9");
  shown.show("3/9");
  shown.say("warning");
  shown.clear();
  expect(said()).toBe("1/9\n3/9\nwarning\n");
});
