import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { FileClient } from '../../../driver.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { testClock } from '../../../testing/clock.ts';
import { collect } from '../../../testing/file-suite.ts';
import { openContext } from '../../../testing/open-context.ts';
import { type Double, type Fault, type Request, startDouble } from './double.fixture.ts';
import driver from './index.ts';
import { isTemporary } from './temporary.ts';

let double: Double;
let client: FileClient;
const clock = testClock();
const openOn = ({ options }: Double) =>
  driver.open(driver.options.parse(options), openContext({ folder: '/nonexistent', clock }));

beforeEach(async () => {
  double = await startDouble();
  client = await openOn(double);
  await writeFile(join(double.root, 'file'), Buffer.alloc(5_000_000, 1));
});
afterEach(async () => {
  double.fault = () => undefined;
  await closed(client);
  await double.close();
});

/** Closing waits up to a second of the clock for what is being removed. */
async function closed(one: FileClient): Promise<void> {
  const closing = one.close();
  await clock.advance(1_000);
  await closing;
}

const on = (request: Request, fault: Fault) => {
  double.fault = (one, path) => (one === request && path.startsWith(double.root) ? fault : undefined);
};
const list = (signal: AbortSignal) => client.list('', { recursive: false, limit: 10 }, signal);
const calls = {
  stat: (signal: AbortSignal) => client.stat('file', signal),
  read: (signal: AbortSignal) => client.readBytes('file', undefined, signal),
  open: (signal: AbortSignal) => client.readStream('file', undefined, signal),
  write: (signal: AbortSignal) => client.write('new', new Uint8Array(100), {}, signal),
  'write into a folder': (signal: AbortSignal) => client.write('sub/new', new Uint8Array(100), {}, signal),
  delete: (signal: AbortSignal) => client.delete('file', signal),
  list,
  copy: async (signal: AbortSignal) => client.copy?.('file', 'copied', signal),
  move: async (signal: AbortSignal) => client.move?.('file', 'moved', signal),
  check: (signal: AbortSignal) => client.check(signal),
};

describe('a status of the server', () => {
  it.each([
    [2, 'not_found'],
    [3, 'permission_denied'],
    [4, 'backend_error'],
    [5, 'invalid_argument'],
    [6, 'unavailable'],
    [7, 'unavailable'],
    [8, 'unsupported'],
  ])('%i is %s', async (status, code) => {
    on('OPEN', { status, words: 'the words of the server' });
    await expect(client.readBytes('file', undefined, NEVER)).rejects.toMatchObject({
      code,
      details: { sftp_status: status },
    });
  });

  it.each([4, 3, 2])('%i that repeats the password is told without it', async (status) => {
    on('OPEN', { status, words: `no ${double.password} here` });
    const failure: unknown = await calls.read(NEVER).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Error);
    expect(inspect(failure, { depth: 10, showHidden: true })).not.toContain(double.password);
  });

  it('of a full disk fails a write, and leaves no file', async () => {
    on('WRITE', { status: 4, words: 'Failure' });
    await expect(client.write('new', new Uint8Array(1_000_000), {}, NEVER)).rejects.toMatchObject({
      code: 'backend_error',
    });
    expect(await readdir(double.root)).toEqual(['file']);
  });
});

describe('a server that has fallen silent', () => {
  const silences: readonly (readonly [keyof typeof calls, Request])[] = [
    ['stat', 'LSTAT'],
    ['read', 'READ'],
    ['open', 'FSTAT'],
    ['write', 'WRITE'],
    ['write', 'OPEN'],
    ['write', 'CLOSE'],
    ['write', 'RENAME'],
    ['write into a folder', 'MKDIR'],
    ['delete', 'REMOVE'],
    ['list', 'READDIR'],
    ['copy', 'READ'],
    ['move', 'RENAME'],
    ['check', 'OPENDIR'],
  ];
  it.each(silences)('does not hold a %s whose signal is aborted, at %s', async (name, request) => {
    on(request, 'silence');
    const ending = new AbortController();
    const received = double.received(request);
    const call = calls[name](ending.signal);
    await received;
    ending.abort();
    await expect(call).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('does not hold a body that is being read', async () => {
    const ending = new AbortController();
    const { body } = await client.readStream('file', undefined, ending.signal);
    on('READ', 'silence');
    const received = double.received('READ');
    const reading = collect(body);
    await received;
    ending.abort();
    await expect(reading).rejects.toMatchObject({ code: 'cancelled' });
  });

  it.each([
    ['keeps its connection when a caller goes soon', 4_000, 0],
    ['loses its connection when a caller has waited for seconds', 6_000, 1],
  ])('%s', async (_what, waitMs, more) => {
    const before = double.connections();
    on('LSTAT', 'silence');
    const ending = new AbortController();
    const received = double.received('LSTAT');
    const call = client.stat('file', ending.signal);
    await received;
    await clock.advance(waitMs);
    ending.abort();
    await expect(call).rejects.toMatchObject({ code: 'cancelled' });
    double.fault = () => undefined;
    await client.check(NEVER);
    expect(double.connections()).toBe(before + more);
  });

  it('frees a file that it opens after all', async () => {
    const ending = new AbortController();
    const call = client.readBytes('file', undefined, ending.signal);
    double.fault = (request) => {
      // The call is over while the server's answer is on its way.
      if (request === 'OPEN') ending.abort();
      return undefined;
    };
    const freed = double.received('CLOSE');
    await expect(call).rejects.toMatchObject({ code: 'cancelled' });
    await expect(freed).resolves.toBeUndefined();
  });
});

describe('a connection that breaks', () => {
  const breaks: readonly (readonly [keyof typeof calls, Request])[] = [
    ['stat', 'LSTAT'],
    ['read', 'READ'],
    ['write', 'WRITE'],
    ['write', 'RENAME'],
    ['delete', 'REMOVE'],
    ['list', 'READDIR'],
    ['copy', 'WRITE'],
    ['move', 'RENAME'],
    ['check', 'OPENDIR'],
  ];
  it.each(breaks)(
    'is unavailable to a %s in the middle of %s, and the next call has another',
    async (name, request) => {
      on(request, 'break');
      await expect(calls[name](NEVER)).rejects.toMatchObject({ code: 'unavailable' });
      double.fault = () => undefined;
      await calls[name](NEVER);
      await vi.waitFor(async () => expect((await readdir(double.root)).some(isTemporary)).toBe(false), {
        interval: 1,
      });
    },
  );

  it('is made anew once, however many wait for it', async () => {
    const before = double.connections();
    double.breakAll();
    await client.stat('file', NEVER).catch(() => {});
    await Promise.all(Array.from({ length: 20 }, () => client.stat('file', NEVER)));
    expect(double.connections()).toBe(before + 1);
    expect(double.open()).toBe(1);
  });

  it('is not made anew for those who have gone', async () => {
    double.breakAll();
    await client.stat('file', NEVER).catch(() => {});
    const ending = new AbortController();
    double.onLogin = () => ending.abort();
    await expect(client.stat('file', ending.signal)).rejects.toMatchObject({ code: 'cancelled' });
    await vi.waitFor(() => expect(double.open()).toBe(0), { interval: 1 });
    double.onLogin = undefined;
    expect((await client.stat('file', NEVER)).size).toBe(5_000_000);
  });

  it('never makes a body look complete', async () => {
    const { body } = await client.readStream('file', undefined, NEVER);
    const iterator = body[Symbol.asyncIterator]();
    await iterator.next();
    // Everything that was asked for is there, so that nothing fails by itself; the rest is not asked for yet.
    await vi.waitFor(() => expect(double.requests.filter((one) => one === 'READ')).toHaveLength(80), {
      interval: 1,
    });
    for (let i = 0; i < 10; i++) await client.stat('file', NEVER);
    double.breakAll();
    await expect(client.stat('file', NEVER)).rejects.toMatchObject({ code: 'unavailable' });
    let bytes = 0;
    const rest = async () => {
      for (let step = await iterator.next(); !step.done; step = await iterator.next())
        bytes += step.value.length;
    };
    await expect(rest()).rejects.toMatchObject({ code: 'unavailable' });
    expect(bytes).toBeLessThan(5_000_000);
  });

  it('is unavailable while the server is away, and there again with it', async () => {
    double.onLogin = (_connection, socket) => void socket.destroy();
    double.breakAll();
    for (let i = 0; i < 3; i++)
      await expect(client.stat('file', NEVER)).rejects.toMatchObject({ code: 'unavailable' });
    double.onLogin = undefined;
    expect((await client.stat('file', NEVER)).size).toBe(5_000_000);
  });
});

describe('a server that is broken', () => {
  it('is unavailable where a file is shorter than it said', async () => {
    on('READ', { status: 1 });
    const { body } = await client.readStream('file', undefined, NEVER);
    await expect(collect(body)).rejects.toMatchObject({ code: 'unavailable' });
    await expect(client.readBytes('file', undefined, NEVER)).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('closing', () => {
  it('leaves no socket, also with calls and bodies on the way', async () => {
    const other = await openOn(double);
    const { body } = await other.readStream('file', undefined, NEVER);
    await body[Symbol.asyncIterator]().next();
    on('LSTAT', 'silence');
    const call = other.stat('file', NEVER);
    const refused = expect(call).rejects.toMatchObject({ code: 'unavailable' });
    await closed(other);
    await refused;
    await vi.waitFor(() => expect(double.open()).toBe(1), { interval: 1 });
    await expect(other.stat('file', NEVER)).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('does not wait for a server that is silent', async () => {
    const other = await openOn(double);
    on('REMOVE', 'silence');
    const ending = new AbortController();
    const source = async function* () {
      yield new Uint8Array(10);
      ending.abort();
      yield new Uint8Array(10);
    };
    await expect(other.write('new', source(), {}, ending.signal)).rejects.toMatchObject({
      code: 'cancelled',
    });
    await closed(other);
    await vi.waitFor(() => expect(double.open()).toBe(1), { interval: 1 });
  });
});
