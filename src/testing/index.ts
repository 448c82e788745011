/** Conformance suites for drivers and stores of your own, to be called from a Vitest test file; what `open()` is given, and time that tests own. */
export { testClock, type TestClock } from './clock.ts';
export { testFileDriver, type FileDriverCase } from './file.ts';
export { openContext } from './open-context.ts';
export type { SuiteEngine } from './seen.ts';
export { testServerlessDriver, type ServerlessDriverCase } from './serverless.ts';
export { testStore, type StoreCase } from './store.ts';
export { testVectorDriver, type VectorSuite } from './vector.ts';
