import { afterEach, expect, test, vi } from "vitest";
import { linuxOnly } from "../../scripts/linux-only.mjs";

afterEach(() => void vi.unstubAllGlobals());

test("what needs Linux says so elsewhere, with the reason", () => {
  expect(() => linuxOnly("Locks are seen in /proc")).not.toThrow();
  vi.stubGlobal("process", { ...process, platform: "darwin" });
  expect(() => linuxOnly("Locks are seen in /proc")).toThrow(
    "Locks are seen in /proc: that is Linux alone, and this is darwin.",
  );
});
