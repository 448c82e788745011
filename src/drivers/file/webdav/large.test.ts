import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { byteOrder } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { describeLive, liveBench, openAt } from './clients.fixture.ts';
import { startWebdav } from './webdav.fixture.ts';

const MIB = 1024 * 1024;

/** How far the memory of the process rose above where it was, while `task` ran. */
async function growthOf(task: () => Promise<void>): Promise<number> {
  const before = process.memoryUsage.rss();
  let most = before;
  const sampling = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 5);
  try {
    await task();
  } finally {
    clearInterval(sampling);
  }
  return Math.max(most, process.memoryUsage.rss()) - before;
}

describeLive('a WebDAV server with much on it', () => {
  const { server } = liveBench();

  it('takes and gives 256 MiB in constant memory', async () => {
    const client = await openAt({ endpoint: server().url });
    const chunk = Buffer.alloc(64 * 1024, 7);
    const stream = async function* () {
      for (let i = 0; i < 4096; i += 1) yield chunk.fill(i % 256);
    };
    const rise = await growthOf(async () => {
      expect(await client.write('large', stream(), {}, NEVER)).toMatchObject({ size: 256 * MIB });
      const { body } = await client.readStream('large', undefined, NEVER);
      let at = 0;
      let isRight = true;
      for await (const piece of body) {
        const last = at + piece.byteLength - 1;
        isRight &&=
          piece[0] === Math.floor(at / 65_536) % 256 && piece.at(-1) === Math.floor(last / 65_536) % 256;
        at += piece.byteLength;
      }
      expect({ at, isRight }).toEqual({ at: 256 * MIB, isRight: true });
    });
    expect(rise).toBeLessThan(150 * MIB);
  });

  it('lists 5,000 names of one folder in pages, in order, in little memory', async () => {
    const server = await startWebdav({ isOpen: true, keepsFolders: '1h' });
    onTestFinished(() => server.close());
    const folder = join(server.folder, 'many');
    await mkdir(folder);
    const names = Array.from({ length: 5_000 }, (_, i) => `${(i * 7919) % 5_000}-ä&${'n'.repeat(40)}`);
    for (let at = 0; at < names.length; at += 500)
      await Promise.all(names.slice(at, at + 500).map((name) => writeFile(join(folder, name), 'x')));
    const client = await openAt({ endpoint: server.url });
    const seen: string[] = [];
    const rise = await growthOf(async () => {
      let cursor: string | undefined;
      do {
        const page = await client.list('many', { recursive: true, limit: 1000, cursor }, NEVER);
        seen.push(...page.files.map((file) => file.name));
        cursor = page.nextCursor;
      } while (cursor !== undefined);
    });
    expect(seen).toEqual(names.sort(byteOrder));
    expect(rise).toBeLessThan(100 * MIB);
  });
});
