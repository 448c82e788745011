import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect, it } from 'vitest';
import { assignment, credentialsOf, optionsOf } from './flag-values.ts';

const terminal = (stdin = '') => ({
  stdin: Readable.from([Buffer.from(stdin)]),
  signal: new AbortController().signal,
});

it('collects assignments in their order, the first = being the one that counts', () => {
  expect(assignment('b=2=3', assignment('a=1'))).toEqual([
    { name: 'a', value: '1' },
    { name: 'b', value: '2=3' },
  ]);
  expect(() => assignment('nothing')).toThrow('it is not name=value.');
});

it('reads options as JSON where they are some, and dots as fields', () => {
  const given = ['n=5', 'on=true', 'text=abc', 'fields.year=number', 'fields.tag=string'].map((value) =>
    assignment(value),
  );
  expect(optionsOf(given.flat())).toEqual({
    n: 5,
    on: true,
    text: 'abc',
    fields: { year: 'number', tag: 'string' },
  });
});

it('takes credentials from a file, stdin, a reference or the argument', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'connectors-flags-'));
  await writeFile(join(folder, 'key'), 'from-file\n');
  const given = [`a=@${join(folder, 'key')}`, 'b=-', 'c=env:NAME', 'd=direct'].flatMap((value) =>
    assignment(value),
  );
  expect(await credentialsOf(given, terminal('from-stdin\r\n'))).toEqual({
    a: 'from-file',
    b: 'from-stdin',
    c: { from_env: 'NAME' },
    d: 'direct',
  });
  await rm(folder, { recursive: true });
});

it('names the credential whose file cannot be read, and never its path’s content', async () => {
  await expect(credentialsOf(assignment('a=@/nowhere/at/all'), terminal())).rejects.toThrow(
    'the file for credential a cannot be read',
  );
});

it('refuses two credentials from stdin', async () => {
  const given = [...assignment('a=-'), ...assignment('b=-')];
  await expect(credentialsOf(given, terminal('x'))).rejects.toThrow('stdin can hold one credential');
});
