import { expect, test } from "vitest";
import { workerResourcesFor } from "../../app/resources.ts";

test("threads of a worker have equal shares of what it may bring in a second; without a limit there is none", () => {
  const { budget } = workerResourcesFor({ threads: 4, memoryBytes: 2 ** 30, bandwidthBytes: 50_000_002 });
  expect(budget.bandwidthBytes).toBe(12_500_000);
  expect(workerResourcesFor({ threads: 4, memoryBytes: 2 ** 30 }).budget).not.toHaveProperty("bandwidthBytes");
});
