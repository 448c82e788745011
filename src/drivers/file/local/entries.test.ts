import fc from 'fast-check';
import { mkdir, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { FileClient } from '../../../driver.ts';
import { clientOver, signal, temporaryFolder } from './local.fixture.ts';
import { byteOrder } from '../../../driver.ts';

it('compares strings as their UTF-8 bytes do', () => {
  const piece = fc.constantFrom(
    'a',
    'b',
    '/',
    '.',
    '\u007f',
    '\u0080',
    'é',
    '\ud7ff',
    '\ue000',
    '\uffff',
    '😀',
    '𐀀',
  );
  const name = fc.array(piece, { maxLength: 5 }).map((pieces) => pieces.join(''));
  fc.assert(
    fc.property(name, name, (a, b) => {
      expect(Math.sign(byteOrder(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
    { numRuns: 2000 },
  );
});

async function pathsOf(
  client: FileClient,
  recursive: boolean,
  betweenPages: () => Promise<void> = async () => {},
) {
  const paths: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await client.list('many', { recursive, limit: 1000, cursor }, signal);
    paths.push(...page.files.map(({ path }) => path));
    cursor = page.nextCursor;
    if (cursor !== undefined) await betweenPages();
  } while (cursor !== undefined);
  return paths;
}

it('pages through a folder that is larger than what it keeps in memory, exactly, while it changes', async () => {
  const root = await temporaryFolder();
  const client = await clientOver(root);
  const many = join(root, 'many');
  await mkdir(many);
  const names = Array.from({ length: 20_000 }, (_, i) => `file-${i}.txt`);
  for (const name of names) await writeFile(join(many, name), '');
  // As if nothing had happened here for a while, so that what one page has found serves the next.
  await utimes(many, new Date(0), new Date(0));
  const sorted = names.sort(byteOrder).map((name) => `many/${name}`);
  for (const recursive of [true, false]) expect(await pathsOf(client, recursive)).toEqual(sorted);

  // Both in the middle of what the first page has found for the later ones.
  const [added, removed] = [`${sorted[3500]}-added`, sorted[3600] ?? ''];
  let pages = 0;
  const changing = await pathsOf(client, false, async () => {
    if (++pages !== 3) return;
    await writeFile(join(root, added), '');
    await writeFile(join(many, 'aaa'), '');
    await rm(join(root, removed));
    await utimes(many, new Date(1000), new Date(1000));
  });
  expect(changing).toEqual([...sorted, added].sort(byteOrder).filter((path) => path !== removed));
}, 60_000);
