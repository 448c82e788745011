import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ERROR_CODES } from '../src/errors/codes.ts';

it('lists every code with its status in docs/errors.md, and no other', () => {
  const page = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8');
  const listed = [...page.matchAll(/^\| `(?<code>\w+)` \| (?<status>\d+) \|/gm)].map(({ groups }) => [
    groups?.['code'],
    Number(groups?.['status']),
  ]);
  expect(listed).toEqual(Object.entries(ERROR_CODES).map(([code, { status }]) => [code, status]));
});
