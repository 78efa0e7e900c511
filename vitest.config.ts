import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Two cores in CI; tests that start whole merges run in files of their own.
    maxWorkers: 2,
    reporters: ["default"],
  },
});
