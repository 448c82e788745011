import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { ExitGate } from './exit-gate.ts';

const INSIDE = 0;
const CALLS = 1;

/** A thread that makes one call after another, each of which says in shared memory that it is under way. */
function caller(gate: ExitGate, body: string) {
  const marks = new Int32Array(new SharedArrayBuffer(8));
  const script = `
    import { workerData } from 'node:worker_threads';
    import { ExitGate } from ${JSON.stringify(new URL('./exit-gate.ts', import.meta.url).href)};
    const { memory, marks } = workerData;
    const gate = new ExitGate(memory);
    const mark = (index, change) => {
      Atomics.add(marks, index, change);
      Atomics.notify(marks, index);
    };
    const call = () => {
      mark(${INSIDE}, 1);
      mark(${CALLS}, 1);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      mark(${INSIDE}, -1);
    };
    const callLater = () => new Promise((resolve) => {
      mark(${INSIDE}, 1);
      setTimeout(() => {
        gate.run(call);
        mark(${INSIDE}, -1);
        resolve();
      }, 5);
    });
    // Keeps the thread alive where no call is made any more.
    setInterval(() => {}, 1_000);
    ${body}`;
  const url = new URL(`data:text/javascript,${encodeURIComponent(script)}`);
  const worker = new Worker(url, { workerData: { memory: gate.memory, marks }, execArgv: [] });
  /** Blocks this thread until so many calls were made. */
  const made = (count: number): void => {
    for (let calls = 0; (calls = Atomics.load(marks, CALLS)) < count;) Atomics.wait(marks, CALLS, calls);
  };
  return { worker, marks, made };
}

describe('the gate that an exit closes', () => {
  it.each([
    ['calls of the thread itself', 'for (;;) gate.run(call);'],
    ['calls that go on in another thread', 'for (;;) await gate.runAsync(callLater);'],
    [
      'both',
      'for (;;) { const later = gate.runAsync(callLater); gate.run(call); await later; gate.run(call); }',
    ],
  ])('closes between two %s, and lets no other start', async (_, body) => {
    const gate = new ExitGate();
    const { worker, marks, made } = caller(gate, body);
    await new Promise((resolve) => worker.once('online', resolve));
    made(3);
    gate.close();
    expect(Atomics.load(marks, INSIDE)).toBe(0);
    // A notice that must not come: the next call would give it at once.
    expect(Atomics.wait(marks, INSIDE, 0, 50)).toBe('timed-out');
    expect(gate.isBusy).toBe(false);
    await worker.terminate();
  });

  it('passes on what a call returns and throws, and is free after both', async () => {
    const gate = new ExitGate();
    const fail = (): never => {
      throw new Error('refused');
    };
    expect(gate.run(() => gate.isBusy)).toBe(true);
    expect(() => gate.run(fail)).toThrow('refused');
    expect(await gate.runAsync(async () => gate.isBusy)).toBe(true);
    await expect(gate.runAsync(async () => fail())).rejects.toThrow('refused');
    expect(gate.isBusy).toBe(false);
  });
});
