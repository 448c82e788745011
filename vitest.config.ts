import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'examples/**/*.test.ts'],
    testTimeout: 30_000,
    globalSetup: ['src/testing/missing-services.fixture.ts'],
    // Two workers: the suites start real engines and child processes, and the smallest supported machine has two cores.
    maxWorkers: 2,
  },
});
