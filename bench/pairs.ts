/** Two ways to do the same work, measured in turns in one process. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Row } from './report.ts';

/** One run of each side. */
export type Pair = { readonly bareMs: number; readonly oursMs: number };

/** Each side once unmeasured, then in turns. */
export async function pairs(
  count: number,
  bareRun: () => Promise<unknown>,
  ours: () => Promise<unknown>,
): Promise<readonly Pair[]> {
  await bareRun();
  await ours();
  const found: Pair[] = [];
  for (let i = 0; i < count; i++) {
    // Taking turns to be first: whatever the first leaves to the disk, the second pays for.
    const bareFirst = i % 2 === 0;
    const first = await timedMs(bareFirst ? bareRun : ours);
    const second = await timedMs(bareFirst ? ours : bareRun);
    found.push(bareFirst ? { bareMs: first, oursMs: second } : { bareMs: second, oursMs: first });
  }
  return found;
}

export async function timedMs(run: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await run();
  return performance.now() - startMs;
}

/** The highest resident size above the one before, sampled every 5 ms. */
export async function grownMb(run: () => Promise<unknown>): Promise<number> {
  await nextTurn();
  const before = process.memoryUsage.rss();
  let highest = before;
  const sampling = setInterval(() => (highest = Math.max(highest, process.memoryUsage.rss())), 5);
  await run();
  clearInterval(sampling);
  return (Math.max(highest, process.memoryUsage.rss()) - before) / 2 ** 20;
}

/** How fast ours is in shares of the bare side: the median of the pairs. */
export function ratioRow(
  what: string,
  found: readonly Pair[],
  atLeast: number,
  work: number,
  unit: string,
): Row {
  const ratio = median(found.map(({ bareMs, oursMs }) => bareMs / oursMs));
  const rate = (ms: readonly number[]) => Math.round((work * 1000) / median(ms)).toLocaleString('en-US');
  const ours = rate(found.map(({ oursMs }) => oursMs));
  const theirs = rate(found.map(({ bareMs }) => bareMs));
  const note = `${ours} ${unit} against ${theirs}`;
  return { what, figure: ratio, unit: 'x', target: `>= ${atLeast}`, ok: ratio >= atLeast, note };
}

export function row(
  what: string,
  figure: number,
  unit: string,
  { atMost }: { readonly atMost?: number } = {},
): Row {
  if (atMost === undefined) return { what, figure, unit };
  return { what, figure, unit, target: `<= ${atMost}`, ok: figure <= atMost };
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value that this share of the others lies below, up to the highest for 1; not a number where there is none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
