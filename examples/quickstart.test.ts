import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const file = fileURLToPath(new URL('quickstart.ts', import.meta.url));

it('runs as it stands and answers the question', { timeout: 60_000 }, async () => {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [file]);
  expect(stdout.replace(/\s+/g, ' ')).toMatch(/retry, rate limit, circuit breaker, timeout/);
  expect(stdout).toMatch(/status: 'completed',\s+result: { words: \d+ }/);
  expect(stderr).toBe('');
});

it('is shorter than 30 lines', async () => {
  const lines = (await readFile(file, 'utf8')).split('\n');
  expect(lines.length - 1).toBeLessThan(30);
});
