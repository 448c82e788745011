import { afterEach, beforeEach, expect, it } from 'vitest';
import type { SuiteEngine } from './seen.ts';

/** What came of the conformance suite's cases for one driver, kept as `seen.json` beside it. */
export type CasesSeen = SuiteEngine & {
  /** Cases of the suite that passed. */
  readonly passed: number;
  /** Cases that this deployment could not be asked for, and why. */
  readonly waived: Readonly<Record<string, string>>;
};

/**
 * Counts, in the `describe` that is being collected, what its cases came to; skips those that are waived, by the
 * beginnings of their names, and lets a waiver that nothing used fail.
 */
export function watchCases(waivers: Readonly<Record<string, string>>): {
  report(engine?: SuiteEngine): void;
} {
  let passed = 0;
  let failed = 0;
  const waived = new Map<string, string>();
  beforeEach(({ task, skip }) => {
    const [name, reason] = Object.entries(waivers).find(([start]) => task.name.startsWith(start)) ?? [];
    if (name === undefined || reason === undefined) return;
    waived.set(task.name, reason);
    skip(reason);
  });
  afterEach(({ task }) => {
    if (task.result?.state === 'fail') failed += 1;
    else if (!waived.has(task.name)) passed += 1;
  });
  return {
    /** Registers the last cases. */
    report(engine) {
      it('has no waiver that nothing needs', () => {
        const names = [...waived.keys()];
        const unused = Object.keys(waivers).filter((start) => !names.some((name) => name.startsWith(start)));
        expect(unused).toEqual([]);
      });
      if (engine === undefined) return;
      it('does what seen.json says', async ({ skip }) => {
        skip(failed > 0, 'not every case passed');
        const seen: CasesSeen = { ...engine, passed, waived: Object.fromEntries(waived) };
        await expect(`${JSON.stringify(seen, null, 2)}\n`).toMatchFileSnapshot('./seen.json');
      });
    },
  };
}
