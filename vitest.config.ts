import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // No test asks the real Hub for a model that is not there.
    env: { HF_HUB_OFFLINE: "1" },
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Two cores in CI; tests that start whole merges run in files of their own.
    maxWorkers: 2,
    reporters: ["default"],
  },
});
