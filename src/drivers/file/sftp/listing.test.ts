import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { byteOrder, type FileClient } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { testClock } from '../../../testing/clock.ts';
import { openContext } from '../../../testing/open-context.ts';
import { type Double, startDouble } from './double.fixture.ts';
import { Entries, namesIn } from './entries.ts';
import { statusFailure } from './errors.ts';
import type { Attributes, Exchange, Listed } from './exchange.ts';
import driver from './index.ts';
import { ServerTime } from './server-time.ts';
import type { Session } from './session.ts';
import { hasSshd, type Sshd, startSshd } from './sshd.fixture.ts';

/** Every page of a folder, joined. */
async function namesOf(client: FileClient, path: string, limit: number): Promise<readonly string[]> {
  const names: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await client.list(path, { recursive: false, limit, cursor }, NEVER);
    names.push(...page.files.map(({ name }) => name));
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return names;
}

describe('the entries of a folder that holds more than is kept', () => {
  const attributes = (isFile: boolean): Attributes => ({
    ...{ size: 1, mtime: 1000 },
    isDirectory: () => !isFile,
    isFile: () => isFile,
    isSymbolicLink: () => false,
  });
  const folderOf = (names: readonly string[]) => {
    let passes = 0;
    let at = 0;
    const exchange = {
      lstat: async () => attributes(false),
      opendir: async () => {
        passes += 1;
        at = 0;
        return Buffer.alloc(1);
      },
      readdir: async (): Promise<readonly Listed[]> => {
        const answer = names.slice(at, (at += 100));
        if (answer.length === 0) throw statusFailure(1, 'End of file', String);
        return answer.map((filename) => ({ filename, attrs: attributes(true) }));
      },
      release: () => {},
    };
    return {
      passes: () => passes,
      reading: {
        exchange: exchange as unknown as Exchange,
        session: { root: '/base', at: (path: string) => `/base/${path}` } as unknown as Session,
        onAbandoned: () => {},
      },
    };
  };
  const settled = () => {
    const clock = testClock();
    const time = new ServerTime(clock);
    time.observe(5000);
    return new Entries(clock, time);
  };

  it('come in order, page by page, in few passes and constant memory', async () => {
    const count = 100_000;
    const names = Array.from({ length: count }, (_, i) => `name-${(i * 7919) % count}`);
    const { reading, passes } = folderOf(names);
    const entries = settled();
    let [after, seen, inOrder, peakBytes] = ['', 0, true, 0];
    const startBytes = process.memoryUsage().heapUsed;
    for (let isDone = false; !isDone;) {
      isDone = true;
      let taken = 0;
      for await (const [key] of entries.after(reading, 'many', after)) {
        isDone = false;
        inOrder &&= byteOrder(after, key) < 0;
        after = key;
        seen += 1;
        if (++taken === 1000) break;
      }
      peakBytes = Math.max(peakBytes, process.memoryUsage().heapUsed - startBytes);
    }
    expect({ seen, inOrder }).toEqual({ seen: count, inOrder: true });
    expect(passes()).toBe(4);
    expect(peakBytes).toBeLessThan(100_000_000);
    entries.close();
  });

  it('are never what is no name', async () => {
    const { reading } = folderOf(['.', '..', '', 'a/b', '../x', 'a\0b', 'kept']);
    const keys: string[] = [];
    for await (const [key] of settled().after(reading, '', '')) keys.push(key);
    expect(keys).toEqual(['kept']);
  });
});

describe('a page', () => {
  const clock = testClock();
  let double: Double;
  let client: FileClient;
  beforeAll(async () => {
    double = await startDouble();
    client = await driver.open(
      driver.options.parse(double.options),
      openContext({ folder: '/nonexistent', clock }),
    );
  });
  afterAll(async () => {
    await client.close();
    await double.close();
  });
  let folder: string;
  let made = 0;
  beforeEach(async () => {
    folder = `folder-${++made}`;
    await mkdir(join(double.root, folder));
    for (const name of ['a', 'b', 'c', 'd']) await writeFile(join(double.root, folder, name), 'x');
  });
  const passes = () => double.requests.filter((request) => request === 'OPENDIR').length;
  const list = (cursor?: string) => client.list(folder, { recursive: false, limit: 2, cursor }, NEVER);

  it('is read again within the second in which the folder was changed', async () => {
    const before = passes();
    const first = await list();
    const { files } = await list(first.nextCursor);
    expect(files.map(({ name }) => name)).toEqual(['c', 'd']);
    expect(passes()).toBe(before + 2);
  });

  it('is not read again once that second is over, until the folder changes', async () => {
    await list();
    await clock.advance(1_001);
    const first = await list();
    const before = passes();
    await list(first.nextCursor);
    expect(passes()).toBe(before);
    await writeFile(join(double.root, folder, 'bb'), 'x');
    await utimes(join(double.root, folder), 1_000_000, 1_000_000);
    const { files } = await list(first.nextCursor);
    expect(files.map(({ name }) => name)).toEqual(['bb', 'c']);
  });

  it('shows a file that another program changes in place within seconds', async () => {
    await list();
    await clock.advance(1_001);
    await list();
    await writeFile(join(double.root, folder, 'a'), 'longer');
    await clock.advance(15_000);
    expect((await list()).files[0]).toMatchObject({ name: 'a', size: 6 });
  });
});

describe.runIf(hasSshd)('a folder of OpenSSH', () => {
  let server: Sshd;
  let client: FileClient;
  beforeAll(async () => {
    server = await startSshd();
    client = await driver.open(driver.options.parse(server.options), openContext({ folder: '/nonexistent' }));
  });
  afterAll(async () => {
    await client.close();
    await server.close();
  });

  it('of 5,000 names comes in order', async () => {
    const names = Array.from({ length: 5_000 }, (_, i) => `${(i * 7919) % 5_000}-name`);
    await mkdir(join(server.root, 'many'));
    await Promise.all(names.map((name) => writeFile(join(server.root, 'many', name), '')));
    expect(await namesOf(client, 'many', 1000)).toEqual([...names].sort());
  });

  it('shows no name that is not UTF-8, and one with the character that stands for such', async () => {
    await mkdir(join(server.root, 'bytes'));
    for (const name of [Buffer.from([0x61, 0xff]), Buffer.from('a\ufffd'), Buffer.from('plain')])
      await writeFile(Buffer.concat([Buffer.from(`${server.root}/bytes/`), name]), 'x');
    expect(await namesOf(client, 'bytes', 10)).toEqual(['a\ufffd', 'plain']);
  });
});

it('a name that is longer than any file system has is left out, also by the sweep, which keeps names', async () => {
  const long = 'x'.repeat(256);
  const answers = [['a', long, 'é'.repeat(128), 'x'.repeat(255)], undefined];
  const exchange = {
    opendir: async () => Buffer.from('h'),
    release: () => {},
    async readdir() {
      const names = answers.shift();
      if (names === undefined) throw statusFailure(1, 'end', (text) => text);
      return names.map((filename) => ({ filename }));
    },
  } as unknown as Exchange;
  const found: string[] = [];
  for await (const { filename } of namesIn(exchange, '/')) found.push(filename);
  expect(found).toEqual(['a', 'x'.repeat(255)]);
});
