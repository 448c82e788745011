import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FileClient } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { openContext } from '../../../testing/open-context.ts';
import { startDouble } from './double.fixture.ts';
import driver from './index.ts';
import { hasSshd, startSshd } from './sshd.fixture.ts';

const MIB = 1024 * 1024;
const servers: readonly (readonly [string, number, typeof startSshd | typeof startDouble])[] = [
  ...(hasSshd ? [['OpenSSH', 64, startSshd] as const] : []),
  ['a server that takes 32 KiB at a time', 32, startDouble],
];

describe.each(servers)('a stream at %s', (_name, sizeMib, start) => {
  let server: Awaited<ReturnType<typeof startSshd | typeof startDouble>>;
  let client: FileClient;
  beforeAll(async () => {
    server = await start();
    client = await driver.open(driver.options.parse(server.options), openContext({ folder: '/nonexistent' }));
  });
  afterAll(async () => {
    await client.close();
    await server.close();
  });

  it(`of ${sizeMib} MiB goes up and comes down as it was, in constant memory`, async () => {
    const rssBytes = () => process.memoryUsage().rss;
    const startBytes = rssBytes();
    let peakBytes = 0;
    const look = () => {
      peakBytes = Math.max(peakBytes, rssBytes() - startBytes);
    };
    const memory = Buffer.alloc(MIB);
    const source = async function* () {
      for (let i = 0; i < sizeMib; i++) {
        yield memory.fill(i + 1);
        look();
      }
    };
    await client.write('large', source(), {}, NEVER);
    expect((await stat(join(server.root, 'large'))).size).toBe(sizeMib * MIB);
    const { info, body } = await client.readStream('large', undefined, NEVER);
    let at = 0;
    let isSame = info.size === sizeMib * MIB;
    for await (const chunk of body) {
      const [first, last] = [Math.floor(at / MIB) + 1, Math.floor((at + chunk.length - 1) / MIB) + 1];
      isSame &&= chunk[0] === first && chunk.at(-1) === last;
      at += chunk.length;
      look();
    }
    expect({ at, isSame }).toEqual({ at: sizeMib * MIB, isSame: true });
    expect(peakBytes).toBeLessThan(150_000_000);
  });

  it('that nobody reads asks for no more than it keeps', async () => {
    await client.write('unread', new Uint8Array(8 * MIB), {}, NEVER);
    const { body } = await client.readStream('unread', { start: MIB, end: 7 * MIB }, NEVER);
    const iterator = body[Symbol.asyncIterator]();
    await iterator.next();
    // Whatever else is asked is answered although the body stands still.
    for (let i = 0; i < 20; i++) expect((await client.stat('unread', NEVER)).size).toBe(8 * MIB);
    await iterator.return?.();
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });
});
