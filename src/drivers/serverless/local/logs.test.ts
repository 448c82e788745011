import { appendFileSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { FunctionLog, ServerlessClient } from '../../../driver.ts';
import { testClock } from '../../../testing/clock.ts';
import { NEVER, openLocal, scratchFolder } from './local.fixture.ts';
import { FunctionLogs } from './logs.ts';

const scratch = scratchFolder();
let connectors = 0;
let connectorId: string;
let client: ServerlessClient;
let warnings: string[];

async function reopen(): Promise<ServerlessClient> {
  const warned = (message: string) => void warnings.push(message);
  const opened = await openLocal(scratch(), { connectorId, warned });
  onTestFinished(() => opened.close());
  return opened;
}

beforeEach(async () => {
  connectorId = `c${++connectors}`;
  warnings = [];
  client = await reopen();
});

const folder = () => join(scratch(), 'acme', connectorId, 'logs');

async function logs(limit = 1000, on = client): Promise<readonly FunctionLog[]> {
  if (!on.logs) throw new Error('the driver keeps no logs');
  return on.logs('f', limit, NEVER);
}

async function call(requestId: string, event: number | string | null = null, on = client): Promise<void> {
  await on.invoke('f', event, { requestId, timeoutMs: 20_000 }, NEVER);
}

const SAYS = 'export const handler = (what: unknown) => { if (what !== null) console.log(what); };';

describe('what a function wrote', () => {
  it('can be asked for at once, call by call, the newest last', async () => {
    await client.deploy?.('f', { code: SAYS }, NEVER);
    const beforeMs = Date.now();
    for (const n of [1, 2, 3]) await call(`request-${n}`, n);
    await call('request-4');
    const found = await logs();
    expect(found.map(({ requestId, text }) => [requestId, text])).toEqual([
      ['request-1', '1\n'],
      ['request-2', '2\n'],
      ['request-3', '3\n'],
    ]);
    for (const { at } of found) {
      expect(at.getTime()).toBeGreaterThanOrEqual(beforeMs);
      expect(at.getTime()).toBeLessThanOrEqual(Date.now());
    }
    expect((await logs(2)).map(({ text }) => text)).toEqual(['2\n', '3\n']);
    expect(await logs(0)).toEqual([]);
  });

  it('is kept however the call ended', async () => {
    const code = `export const handler = (how: string) => {
      console.log(how);
      if (how === 'throws') throw new Error();
      if (how === 'exits') Deno.exit(1);
      if (how === 'is too large') return 'x'.repeat(7e6);
      if (how === 'is too long') for (;;);
    };`;
    await client.deploy?.('f', { code }, NEVER);
    const ways = ['throws', 'exits', 'is too large', 'is too long'];
    for (const how of ways) {
      await client.invoke('f', how, { requestId: how, timeoutMs: 2_000 }, NEVER).catch(() => {});
    }
    expect((await logs()).map(({ requestId, text }) => [requestId, text])).toEqual(
      ways.map((how) => [how, `${how}\n`]),
    );
  });

  it('when it was loaded for a deploy belongs to no call', async () => {
    const code = "console.log('loaded'); export const handler = () => console.log('called');";
    await client.deploy?.('f', { code }, NEVER);
    await call('r');
    const [loaded, called] = await logs();
    expect([loaded?.text, called?.text]).toEqual(['loaded\n', 'called\n']);
    expect(Object.keys(loaded ?? {})).toEqual(['at', 'text']);
  });

  it('outlives the client, and half a line of a process that was killed', async () => {
    await client.deploy?.('f', { code: SAYS }, NEVER);
    await call('r1', 'first');
    await client.close();
    appendFileSync(join(folder(), 'f.log'), '{"at":17,"text":"hal');
    const next = await reopen();
    await call('r2', 'second', next);
    expect((await logs(1000, next)).map(({ text }) => text)).toEqual(['first\n', 'second\n']);
  });

  it('takes at most two files of half a megabyte, of which the oldest goes first', async () => {
    await client.deploy?.(
      'f',
      { code: "export const handler = (n: number) => console.log(n, 'x'.repeat(60_000));" },
      NEVER,
    );
    for (let n = 0; n < 30; n++) {
      await call(`r${n}`, n);
      // Asking writes what waits, so that none is dropped for a slow disk.
      await logs(1);
    }
    const found = (await logs()).map(({ text }) => Number.parseInt(text, 10));
    // Eight of them fill a file.
    expect(found).toEqual(Array.from({ length: 14 }, (_, at) => 16 + at));
    const sizes = readdirSync(folder()).map((name) => statSync(join(folder(), name)).size);
    expect(sizes).toHaveLength(2);
    for (const size of sizes) expect(size).toBeLessThanOrEqual(512 * 1024);
  });

  it('is cut where one call wrote much, also where JSON makes it six times as long', async () => {
    const code = "export const handler = () => console.log('\\u0001'.repeat(200_000));";
    await client.deploy?.('f', { code }, NEVER);
    for (const n of [1, 2, 3]) await call(`r${n}`);
    for (const { text } of await logs()) {
      expect(text).toBe(`${'\u0001'.repeat(65_536)}\n[${200_001 - 65_536} more characters were not kept]`);
    }
    for (const name of readdirSync(folder())) {
      expect(statSync(join(folder(), name)).size).toBeLessThanOrEqual(512 * 1024);
    }
  });

  it('is gone with the function, and what a call that is still going writes goes nowhere', async () => {
    const code = `export const handler = async () => {
      await new Promise((done) => setTimeout(done, 300));
      console.log('late');
    };`;
    await client.deploy?.('f', { code }, NEVER);
    await call('r0');
    const late = call('r1');
    // The call has its process before the function is gone.
    await expect.poll(() => logs().then((found) => found.length)).toBe(1);
    await client.remove?.('f', NEVER);
    await late;
    await expect(logs()).rejects.toMatchObject({ code: 'not_found' });
    expect(readdirSync(folder())).toEqual([]);
    await client.deploy?.('f', { code: SAYS }, NEVER);
    expect(await logs()).toEqual([]);
  });

  it('of none is not found, and of a silent one is nothing', async () => {
    await expect(logs()).rejects.toMatchObject({ code: 'not_found' });
    await expect(client.logs?.('a.b', 1, NEVER)).rejects.toMatchObject({ code: 'not_found' });
    await client.deploy?.('f', { code: SAYS }, NEVER);
    await call('r');
    expect(await logs()).toEqual([]);
  });

  it('that cannot be kept is a warning and no failure of the call', async () => {
    writeFileSync(folder(), 'a file where the folder should be');
    await client.deploy?.('f', { code: SAYS }, NEVER);
    for (const n of [1, 2]) {
      await call('r', n);
      expect(await logs()).toEqual([]);
    }
    // Once, not for each call.
    expect(warnings).toEqual(['what function f wrote could not be kept']);
  });
});

describe('the files of the logs', () => {
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const entry = (n: number) => ({ at: new Date(n), requestId: `r${n}`, text: `${n}` });

  it('are written to a quarter of a second after a call, for all calls together', async () => {
    const clock = testClock();
    const kept = new FunctionLogs({ folder: folder(), clock, log });
    for (const n of [1, 2, 3]) kept.of('f').add(entry(n));
    await clock.advance(249);
    expect(() => statSync(folder())).toThrow('ENOENT');
    await clock.advance(1);
    await kept.flush();
    expect(readFileSync(join(folder(), 'f.log'), 'utf8').trim().split('\n')).toHaveLength(3);
  });

  it('get the newest where calls write faster than a disk', async () => {
    const kept = new FunctionLogs({ folder: folder(), clock: testClock(), log });
    for (let n = 0; n < 100; n++) kept.of('f').add({ ...entry(n), text: `${n} ${'x'.repeat(70_000)}` });
    const found = await kept.of('f').read(1000);
    // The first two were on their way to the disk already, and eight could wait.
    expect(found.map(({ at }) => at.getTime())).toEqual([0, 1, 92, 93, 94, 95, 96, 97, 98, 99]);
  });

  it('hold nothing for a reader that is no entry', async () => {
    const kept = new FunctionLogs({ folder: folder(), clock: testClock(), log });
    kept.of('f').add(entry(1));
    await kept.flush();
    for (const line of ['null', '[]', '{"at":"x","text":"y"}', '{"at":1}', '\0\0\0']) {
      appendFileSync(join(folder(), 'f.log'), `${line}\n`);
    }
    expect(await kept.of('f').read(10)).toEqual([entry(1)]);
    truncateSync(join(folder(), 'f.log'));
    expect(await kept.of('f').read(10)).toEqual([]);
  });
});
