import { createServer } from 'node:net';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { FileClient, OpenContext } from '../../../driver.ts';
import { egressPolicy } from '../../../egress/addresses.ts';
import { network } from '../../../egress/network.ts';
import { NEVER } from '../../../policies/pipeline.ts';
import { blackHole, closedPort, garbage, nonsense } from '../../../testing/faulty-servers.fixture.ts';
import { openContext } from '../../../testing/open-context.ts';
import { type Double, startDouble } from './double.fixture.ts';
import driver from './index.ts';
import { disconnect } from './ssh2-server.fixture.ts';
import { hasSshd, type Sshd, startSshd } from './sshd.fixture.ts';

const context = (own: Partial<OpenContext> = {}) => openContext({ folder: '/nonexistent', ...own });
const clients: FileClient[] = [];
const open = async (options: object, own: Partial<OpenContext> = {}) => {
  const client = await driver.open(driver.options.parse(options), context(own));
  clients.push(client);
  return client;
};
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
});

let double: Double;
beforeAll(async () => {
  double = await startDouble();
});
afterAll(() => double.close());

describe('a login by password', () => {
  it('goes through the stages in their order', async () => {
    const stages: string[] = [];
    await open(double.options, {
      stage: (name, step) => {
        stages.push(name);
        return step();
      },
    });
    expect(stages).toEqual(['address', 'connect', 'credentials', 'bucket']);
  });

  it('is answered where the server asks for it by keyboard-interactive', async () => {
    const asking = await startDouble({ keyboard: true });
    try {
      const client = await open(asking.options);
      expect(await client.check(NEVER)).toBeInstanceOf(Array);
    } finally {
      await asking.close();
    }
  });

  it('is auth_failed where it is wrong, and shows it nowhere', async () => {
    const password = 'canary-wrong-9d2f';
    const failure: unknown = await open({ ...double.options, password }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'auth_failed' });
    expect(inspect(failure, { depth: 10, showHidden: true })).not.toContain(password);
  });

  it('is auth_failed where the server ends it after too many attempts', async () => {
    double.onLogin = (connection) => disconnect(connection, 2);
    await expect(open(double.options)).rejects.toMatchObject({
      code: 'auth_failed',
      details: { ssh_disconnect: 2 },
    });
    double.onLogin = (connection) => disconnect(connection, 12);
    await expect(open(double.options)).rejects.toMatchObject({ code: 'unavailable' });
    double.onLogin = undefined;
  });

  it('is unavailable where the server closes the connection in the middle of it', async () => {
    double.onLogin = (_connection, socket) => void socket.destroy();
    await expect(open(double.options)).rejects.toMatchObject({ code: 'unavailable' });
    double.onLogin = undefined;
  });

  it('ends at once with the signal where the server does not answer it', async () => {
    const ending = new AbortController();
    double.onLogin = () => ending.abort();
    await expect(open(double.options, { signal: ending.signal })).rejects.toMatchObject({
      code: 'cancelled',
    });
    double.onLogin = undefined;
    expect(await drained(double)).toBe(0);
  });
});

describe('the key of the server', () => {
  it('is auth_failed where it is another, before the password is sent', async () => {
    const other = await startDouble();
    const logins = vi.fn<() => void>();
    double.onLogin = logins;
    const failure = open({ ...double.options, host_key: other.options.host_key });
    await expect(failure).rejects.toMatchObject({
      code: 'auth_failed',
      message: expect.stringMatching(/it showed the key SHA256:[A-Za-z0-9+/]{43}, which is not the host_key/),
    });
    expect(logins).not.toHaveBeenCalled();
    double.onLogin = undefined;
    await other.close();
  });

  it('may be any where an administrator says so, which the check repeats', async () => {
    const { host_key: _, ...options } = double.options;
    const client = await open({ ...options, insecure_any_host_key: true });
    expect(await client.check(NEVER)).toContainEqual({
      level: 'warn',
      message: expect.stringContaining('insecure_any_host_key'),
    });
  });
});

describe('the root', () => {
  it('is where the login begins unless it is named', async () => {
    await writeFile(join(double.root, 'here'), 'x');
    const { root: _, ...options } = double.options;
    const client = await open(options);
    expect((await client.stat('here', NEVER)).size).toBe(1);
  });

  it('may lie behind a link, which is followed once', async () => {
    await mkdir(join(double.root, 'real'));
    await symlink('real', join(double.root, 'link'));
    const client = await open({ ...double.options, root: `${double.root}/link` });
    await client.write('file', new Uint8Array(3), {}, NEVER);
    expect((await client.stat('file', NEVER)).size).toBe(3);
  });

  it.each(['missing', 'a-file'])('%s is not_found and named', async (name) => {
    await writeFile(join(double.root, 'a-file'), 'x');
    const root = `${double.root}/${name}`;
    await expect(open({ ...double.options, root })).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining(root),
    });
  });
});

describe('a server', () => {
  const at = ({ host, port }: { readonly host: string; readonly port: number }) => ({
    ...double.options,
    endpoint: `sftp://ada@${host}:${port}`,
  });

  it.each([
    ['that nobody runs is unavailable', closedPort, 'unavailable'],
    ['that speaks HTTP, and closes the connection, is unavailable', nonsense, 'unavailable'],
    ['that speaks nothing known is backend_error', garbage, 'backend_error'],
  ])('%s', async (_what, start, code) => {
    const server = await start();
    await expect(open(at(server))).rejects.toMatchObject({ code });
    await server.idle();
    await server.close();
  });

  it('that says nothing is given up with the signal, and its socket closed', async () => {
    const server = await blackHole();
    const ending = new AbortController();
    const opening = open(at(server), {
      signal: ending.signal,
      stage: async (name, step) => {
        const running = step();
        if (name === 'credentials') ending.abort();
        return running;
      },
    });
    await expect(opening).rejects.toMatchObject({ code: 'cancelled' });
    await server.idle();
    await server.close();
  });

  it('at an address that is not allowed is egress_denied, and gets no connection', async () => {
    const before = double.connections();
    const forbidden = { network: network(egressPolicy({ allowPrivate: false })) };
    await expect(open(double.options, forbidden)).rejects.toMatchObject({ code: 'egress_denied' });
    expect(double.connections()).toBe(before);
  });
});

describe('the environment of the host', () => {
  it('is never asked: no agent, no proxy, no keys of its user', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'file-sftp-agent-'));
    let asked = 0;
    const agent = createServer((socket) => {
      asked += 1;
      socket.destroy();
    });
    const path = join(folder, 'agent');
    await new Promise<void>((resolve) => agent.listen(path, resolve));
    for (const name of ['SSH_AUTH_SOCK', 'ALL_PROXY', 'HTTPS_PROXY', 'SSH_ASKPASS'])
      vi.stubEnv(name, name === 'SSH_AUTH_SOCK' ? path : 'http://127.0.0.1:1');
    vi.stubEnv('HOME', folder);
    try {
      await expect(open({ ...double.options, password: 'wrong' })).rejects.toMatchObject({
        code: 'auth_failed',
      });
      expect(asked).toBe(0);
    } finally {
      vi.unstubAllEnvs();
      agent.close();
      await rm(folder, { recursive: true });
    }
  });
});

describe.runIf(hasSshd)('a login by key, at OpenSSH', () => {
  let server: Sshd;
  beforeAll(async () => {
    server = await startSshd();
  });
  afterAll(() => server.close());

  it('takes an encrypted key with its passphrase', async () => {
    const { encryptedKey: private_key, passphrase, options } = server;
    const client = await open({ ...options, private_key, passphrase });
    expect(await client.check(NEVER)).toEqual([]);
  });

  it.each([
    ['without its passphrase', () => ({ private_key: server.encryptedKey })],
    ['with another passphrase', () => ({ private_key: server.encryptedKey, passphrase: 'another' })],
    ['that is none', () => ({ private_key: 'no key' })],
  ])('refuses a key %s', async (_what, key) => {
    await expect(open({ ...server.options, ...key() })).rejects.toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'private_key' }],
    });
  });

  it.each([
    ['another key', () => ({ private_key: server.foreignKey })],
    ['a user that is not known', () => ({ endpoint: `sftp://nobody-knows@127.0.0.1:${server.port}` })],
  ])('is auth_failed with %s', async (_what, options) => {
    await expect(open({ ...server.options, ...options() })).rejects.toMatchObject({ code: 'auth_failed' });
  });

  it('is permission_denied where the server gives no SFTP', async () => {
    const shell = await startSshd({ settings: 'ForceCommand /bin/false' });
    try {
      await expect(open(shell.options)).rejects.toMatchObject({ code: 'permission_denied' });
    } finally {
      await shell.close();
    }
  });
});

/** How many connections are open once those that were given up have gone. */
async function drained({ open }: Double): Promise<number> {
  await vi.waitFor(() => expect(open()).toBe(0), { interval: 1 });
  return open();
}
