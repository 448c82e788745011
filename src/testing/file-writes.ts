import { expect, it } from 'vitest';
import type { FileConnector } from '../connectors/file/connector.ts';
import type { FileCapabilities } from '../connectors/file/driver.ts';
import { chunksOf, text, untouchable, type FileSuite } from './file-suite.ts';

/** Registers that a capability which is not declared is refused before any I/O. */
export function refuses(
  capabilities: FileCapabilities,
  capability: string,
  use: (idle: FileConnector) => Promise<unknown>,
): void {
  it(`refuses ${capability} before any I/O`, async () => {
    await expect(use(untouchable(capabilities))).rejects.toMatchObject({
      code: 'unsupported',
      details: { capability },
    });
  });
}

/** Cases about what a write may say besides its content: types, metadata and conditions. */
export function testWrites({ capabilities, files, folder }: FileSuite): void {
  if (capabilities.contentType) {
    it('answers the content type that was given', async () => {
      const path = `${folder()}/typed`;
      await files().writeFile(path, '{}', { contentType: 'application/json' });
      expect((await files().statFile(path)).contentType).toBe('application/json');
      await files().writeFile(path, chunksOf('a'), { contentType: 'text/plain; charset=utf-8' });
      expect((await files().statFile(path)).contentType).toBe('text/plain; charset=utf-8');
    });

    it('refuses a content type that is none before any I/O', async () => {
      const idle = untouchable(capabilities);
      for (const contentType of [
        '',
        'text',
        'text/plain\r\nx: y',
        'text/plain; é',
        `text/${'x'.repeat(300)}`,
      ])
        await expect(idle.writeFile('a', 'x', { contentType })).rejects.toMatchObject({
          issues: [{ path: 'contentType' }],
        });
    });
  } else
    refuses(capabilities, 'contentType', (idle) => idle.writeFile('a', 'x', { contentType: 'text/plain' }));

  if (capabilities.metadata) {
    it('answers the metadata that was given, and replaces it as a whole', async () => {
      const path = `${folder()}/described`;
      const metadata = { plain: 'text', _1: ' é😀 % ', empty_: 'a'.repeat(1000), breaks: 'a\r\nb: c' };
      await files().writeFile(path, 'x', { metadata });
      expect((await files().statFile(path)).metadata).toEqual(metadata);
      expect((await files().openFile(path)).info.metadata).toEqual(metadata);
      await files().writeFile(path, chunksOf('y'), { metadata: { only: 'this' } });
      expect((await files().statFile(path)).metadata).toEqual({ only: 'this' });
      await files().writeFile(path, 'z');
      expect((await files().statFile(path)).metadata ?? {}).toEqual({});
    });
  } else refuses(capabilities, 'metadata', (idle) => idle.writeFile('a', 'x', { metadata: { a: 'b' } }));

  if (capabilities.ifMatch) {
    it('replaces only the content that has the etag', async () => {
      const path = `${folder()}/conditional`;
      const first = await files().writeFile(path, 'first');
      const second = await files().writeFile(path, 'second', { ifMatch: first.etag });
      for (const content of ['third', chunksOf('third')])
        await expect(files().writeFile(path, content, { ifMatch: first.etag })).rejects.toMatchObject({
          code: 'conflict',
        });
      expect(text(await files().readFile(path))).toBe('second');
      await files().writeFile(path, chunksOf('third'), { ifMatch: second.etag });
      expect(text(await files().readFile(path))).toBe('third');
    });

    it('lets exactly one of twenty writers replace a content, and none where there is no file', async () => {
      const path = `${folder()}/contended`;
      const missing = files().writeFile(path, 'x', { ifMatch: '00000000000000000000000000000000' });
      await expect(missing).rejects.toMatchObject({ code: 'conflict' });
      await expect(files().statFile(path)).rejects.toMatchObject({ code: 'not_found' });
      const { etag } = await files().writeFile(path, 'old');
      const outcomes = await Promise.allSettled(
        Array.from({ length: 20 }, (_, i) => files().writeFile(path, `new ${i}`, { ifMatch: etag })),
      );
      const winners = outcomes.flatMap(({ status }, i) => (status === 'fulfilled' ? [i] : []));
      expect(winners).toHaveLength(1);
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'conflict' });
      expect(text(await files().readFile(path))).toBe(`new ${winners[0]}`);
    });
  } else refuses(capabilities, 'ifMatch', (idle) => idle.writeFile('a', 'x', { ifMatch: 'etag' }));

  it('refuses two conditions that exclude each other before any I/O', async () => {
    const idle = untouchable({ ...capabilities, createOnly: true, ifMatch: true });
    await expect(idle.writeFile('a', 'x', { ifMatch: 'etag', ifNoneMatch: '*' })).rejects.toMatchObject({
      issues: [{ path: 'ifMatch' }],
    });
  });

  it('tells of the bytes that were taken, as they grow', async () => {
    const at = folder();
    const seen: number[] = [];
    const onProgress = (bytes: number): void => void seen.push(bytes);
    await files().writeFile(`${at}/stream`, chunksOf('ab', 'cde'), { onProgress });
    await files().writeFile(`${at}/bytes`, 'abcdefg', { onProgress });
    expect(seen).toEqual([2, 5, 7]);
  });
}
