import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { typing } from './terminal.fixture.ts';

/** Asks for the password in clear: an R of 8 bytes whose kind is 3. */
const ASK = Buffer.from('R\0\0\0\x08\0\0\0\x03', 'latin1');
const REFUSE = Buffer.from('E\0\0\0\x12C28P01\0Mrefused\0\0', 'latin1');

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'migrate-password-'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

/** What speaks PostgreSQL as far as the password; the port, and the passwords that it was told. */
async function passwordTaker(): Promise<{ readonly port: number; readonly told: readonly string[] }> {
  const told: string[] = [];
  const server = createServer((socket) => {
    let isGreeted = false;
    socket.on('error', () => {});
    socket.on('data', (message: Buffer) => {
      if (!isGreeted) socket.write(ASK);
      // A letter and a length stand before it, a zero behind it.
      else if (message[0] === 'p'.charCodeAt(0)) {
        told.push(message.subarray(5, -1).toString());
        socket.end(REFUSE);
      }
      isGreeted = true;
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  // A TCP server's address is never a pipe's name.
  return { port: (server.address() as AddressInfo).port, told };
}

describe('the password of a database that a registry is moved from or to', () => {
  it('is taken from PGPASSWORD where the address has none', async () => {
    const { port, told } = await passwordTaker();
    vi.stubEnv('PGPASSWORD', 'from the environment');
    const from = `postgres://connectors@127.0.0.1:${port}/connectors`;
    const { code, stderr } = await typing()(['migrate', '--from', from, '--to', join(folder, 'data')]);
    expect({ code, told: new Set(told) }).toEqual({ code: 1, told: new Set(['from the environment']) });
    expect(stderr).not.toContain('from the environment');
  });

  it('is taken from the file of passwords where neither has one', async () => {
    const { port, told } = await passwordTaker();
    const file = join(folder, 'pgpass');
    await writeFile(file, `127.0.0.1:${port}:connectors:connectors:from the file\n`, { mode: 0o600 });
    vi.stubEnv('PGPASSFILE', file);
    const from = `postgres://connectors@127.0.0.1:${port}/connectors`;
    await typing()(['migrate', '--from', from, '--to', join(folder, 'data')]);
    expect(new Set(told)).toEqual(new Set(['from the file']));
  });

  it('is not asked for among the arguments, which others on the machine can read', async () => {
    const { stdout } = await typing()('migrate --help');
    expect(stdout).toMatch(/PGPASSWORD[^]*~\/\.pgpass/);
    expect(stdout).not.toContain('user:password@');
  });
});
