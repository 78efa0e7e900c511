import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { parseChange, waitingChanges, withChanges } from "../scripts/changelog.mjs";

test("every file of changes/ has the form that can be joined, and CHANGELOG.md a place for it", () => {
  const changelog = readFileSync("CHANGELOG.md", "utf8");
  const changes = waitingChanges();
  const joined = withChanges(changelog, changes);
  for (const { lines } of changes) expect(joined).toContain(`\n- ${lines.join("\n  ")}\n`);
});

describe("a change", () => {
  test("is a section and a paragraph; its room is in the name", () => {
    const change = parseChange("coordinator-core.late-grants.md", "Fixed\n\nLate grants\nare fenced.\n");
    expect(change).toEqual({ section: "Fixed", lines: ["Late grants", "are fenced."] });
  });

  test.each([
    ["attic.late.md", "Fixed\n\nOne.\n", "call it ROOM"],
    ["late.md", "Fixed\n\nOne.\n", "call it ROOM"],
    ["plan.late.md", "Mended\n\nOne.\n", "the first line must be one of Added"],
    ["plan.late.md", "Fixed\nOne.\n", "the second empty"],
    ["plan.late.md", "Fixed\n\n", "one paragraph"],
    ["plan.late.md", "Fixed\n\n- One.\n", "one paragraph"],
    ["plan.late.md", "Fixed\n\nOne.\n\nTwo.\n", "one paragraph"],
  ])("called %s that says %j is refused", (name, text, reason) => {
    expect(() => parseChange(name, text)).toThrow(`changes/${name}: `);
    expect(() => parseChange(name, text)).toThrow(reason);
  });
});

describe("the changelog", () => {
  const old =
    "# Changelog\n\n## Unreleased\n\n### Fixed\n\n- One.\n\n### Bits\n\n- Two.\n\n## 0.1.0\n\n### Fixed\n\n- Zero.\n";

  test("gets a point at the end of the section, of the version that is not released", () => {
    const joined = withChanges(old, [{ section: "Fixed", lines: ["Three", "four."] }]);
    expect(joined).toBe(old.replace("- One.\n", "- One.\n- Three\n  four.\n"));
    expect(withChanges(old, [])).toBe(old);
  });

  test("gets sections that it lacks, Bits the last", () => {
    const joined = withChanges(old, [
      { section: "Security", lines: ["Three."] },
      { section: "Security", lines: ["Four."] },
    ]);
    expect(joined).toBe(old.replace("### Bits", "### Security\n\n- Three.\n- Four.\n\n### Bits"));
    expect(withChanges("# C\n\n## Unreleased\n", [{ section: "Bits", lines: ["One."] }])).toBe(
      "# C\n\n## Unreleased\n\n### Bits\n\n- One.\n",
    );
  });
});
