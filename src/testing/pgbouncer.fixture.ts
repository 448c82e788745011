import { chownSync, existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort, startChildServer } from './child-server.fixture.ts';
import { ownerOfServers, query } from './postgres.fixture.ts';

/** PgBouncer before a database. */
export type TestPooler = {
  /** The address of the database by way of this. */
  readonly url: string;
  close(): Promise<void>;
};

const BINARY = '/usr/sbin/pgbouncer';

/** Why nothing can be tested on PgBouncer here; undefined where it can. */
export const noPgBouncer = existsSync(BINARY) ? undefined : `no PgBouncer: ${BINARY} is not there`;
if (noPgBouncer !== undefined) console.warn(`skipped: ${noPgBouncer}`);

/** @param mode after which of these a connection of the database is given to another one. */
export async function startPgBouncer(url: string, mode: 'session' | 'transaction'): Promise<TestPooler> {
  const { hostname, port, username, password, pathname } = new URL(url);
  const folder = mkdtempSync(join(tmpdir(), 'pgbouncer-'));
  const ownPort = await freePort();
  const target = { host: hostname, port, user: username, password, dbname: pathname.slice(1) };
  const given = Object.entries(target).filter(([, value]) => value !== '');
  const settings = {
    listen_addr: '127.0.0.1',
    listen_port: ownPort,
    unix_socket_dir: '',
    auth_type: 'any',
    pool_mode: mode,
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  const file = join(folder, 'pgbouncer.ini');
  writeFileSync(
    file,
    [
      '[databases]',
      `* = ${given.map(([name, value]) => `${name}=${value}`).join(' ')}`,
      '[pgbouncer]',
      ...lines,
    ].join('\n'),
  );
  const owner = ownerOfServers();
  if (owner) for (const path of [folder, file]) chownSync(path, owner.uid, owner.gid);
  const own = Object.assign(new URL(url), { port: String(ownPort) }).href;
  const isReady = () =>
    query(own, 'select 1').then(
      () => true,
      () => false,
    );
  const { close } = await startChildServer({
    command: BINARY,
    args: [file],
    env: {},
    folder,
    owner,
    isReady,
  });
  return { url: own, close };
}
