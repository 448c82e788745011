import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { type AddressInfo, createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hostKey, Server, type ServedConnection, type ServedSftp, utils } from './ssh2-server.fixture.ts';

const { STATUS_CODE, OPEN_MODE } = utils.sftp;

/** The requests of a client, by what the protocol calls them. */
export type Request =
  | 'OPEN'
  | 'READ'
  | 'WRITE'
  | 'CLOSE'
  | 'FSTAT'
  | 'LSTAT'
  | 'OPENDIR'
  | 'READDIR'
  | 'REMOVE'
  | 'MKDIR'
  | 'RENAME'
  | 'REALPATH';
/** What is done to a request: nothing is answered, the connection breaks, or a status is answered. */
export type Fault = 'silence' | 'break' | { readonly status: number; readonly words?: string };

/** ssh2's own SSH server over a folder: it takes passwords, offers no extension, and fails as it is told. */
export type Double = {
  readonly port: number;
  readonly root: string;
  readonly password: string;
  readonly options: {
    readonly endpoint: string;
    readonly root: string;
    readonly password: string;
    readonly host_key: string;
  };
  /** Requests so far, in order. */
  readonly requests: readonly Request[];
  /** Connections so far, and those that are open. */
  readonly connections: () => number;
  readonly open: () => number;
  /** Resolves when the request has come. */
  readonly received: (request: Request) => Promise<void>;
  /** What happens to requests from now on; nothing where it answers undefined. */
  fault: (request: Request, path: string) => Fault | undefined;
  /** What happens instead of logging in. */
  onLogin: ((connection: ServedConnection, socket: Socket) => void) | undefined;
  readonly breakAll: () => void;
  readonly close: () => Promise<void>;
};

type Held = { readonly file?: fs.FileHandle; names?: string[]; readonly path: string };

export async function startDouble({
  replaces = true,
  keyboard = false,
}: {
  /** Whether its rename replaces, as that of some servers does. */
  readonly replaces?: boolean;
  /** Whether it asks for the password by keyboard-interactive alone. */
  readonly keyboard?: boolean;
} = {}): Promise<Double> {
  const root = await fs.realpath(await fs.mkdtemp(join(tmpdir(), 'file-sftp-double-')));
  const password = 'canary-password-7c1e';
  const key = hostKey();
  const sockets = new Map<number, Socket>();
  const requests: Request[] = [];
  const waiting: (readonly [Request, () => void])[] = [];
  let connections = 0;

  const server = new Server({ hostKeys: [key.private], ident: 'double' }, (connection, { port }) => {
    const socket = sockets.get(port) ?? new Socket();
    connection.on('error', () => {});
    connection.on('authentication', (auth) => {
      if (double.onLogin) return double.onLogin(connection, socket);
      if (keyboard && auth.method === 'keyboard-interactive')
        return void auth.prompt([{ prompt: 'Password: ', echo: false }], (answers) =>
          answers[0] === password ? auth.accept() : auth.reject(['keyboard-interactive']),
        );
      if (!keyboard && auth.method === 'password' && auth.password === password) return auth.accept();
      auth.reject([keyboard ? 'keyboard-interactive' : 'password']);
    });
    connection.on('session', (accept) => accept().on('sftp', (accept) => serve(accept(), socket)));
  });

  const serve = (sftp: ServedSftp, socket: Socket): void => {
    const held = new Map<number, Held>();
    let next = 0;
    const hold = (id: number, one: Held) => {
      const handle = Buffer.alloc(4);
      handle.writeUInt32BE(next);
      held.set(next++, one);
      sftp.handle(id, handle);
    };
    const of = (handle: Buffer): Held => held.get(handle.readUInt32BE(0)) ?? { path: '' };
    const on = (
      request: Request,
      pathOf: (first: never) => string,
      task: (id: number, ...rest: never[]) => Promise<void>,
    ) => {
      sftp.on(request, (id: number, ...rest: unknown[]) => {
        requests.push(request);
        for (const [wanted, resolve] of waiting) if (wanted === request) resolve();
        const fault = double.fault(request, pathOf(rest[0] as never));
        if (fault === 'silence') return;
        if (fault === 'break') return void socket.destroy();
        if (fault) return sftp.status(id, fault.status, fault.words);
        task(id, ...(rest as never[])).catch((error: unknown) => sftp.status(id, statusOf(error)));
      });
    };
    const byHandle = (handle: Buffer) => of(handle).path;
    const byPath = (path: string) => path;
    const done = (id: number) => sftp.status(id, STATUS_CODE.OK);

    on('REALPATH', byPath, async (id, path: string) => {
      const filename = await fs.realpath(path === '.' ? root : path);
      sftp.name(id, [{ filename, longname: filename, attrs: {} }]);
    });
    on('LSTAT', byPath, async (id, path: string) => sftp.attrs(id, attributesOf(await fs.lstat(path))));
    on('FSTAT', byHandle, async (id, handle: Buffer) => {
      const stats = await of(handle).file?.stat();
      if (stats) sftp.attrs(id, attributesOf(stats));
    });
    on('OPEN', byPath, async (id, path: string, flags: number) => {
      const isNew = (flags & OPEN_MODE.EXCL) !== 0;
      if (!isNew && !(await fs.stat(path)).isFile()) throw new Error('not a file');
      hold(id, { file: await fs.open(path, isNew ? 'wx' : 'r'), path });
    });
    on('READ', byHandle, async (id, handle: Buffer, offset: number, length: number) => {
      const buffer = Buffer.alloc(length);
      const { bytesRead = 0 } = (await of(handle).file?.read(buffer, 0, length, offset)) ?? {};
      if (bytesRead === 0) sftp.status(id, STATUS_CODE.EOF);
      else sftp.data(id, buffer.subarray(0, bytesRead));
    });
    on('WRITE', byHandle, async (id, handle: Buffer, offset: number, data: Buffer) => {
      await of(handle).file?.write(data, 0, data.length, offset);
      done(id);
    });
    on('CLOSE', byHandle, async (id, handle: Buffer) => {
      await of(handle).file?.close();
      held.delete(handle.readUInt32BE(0));
      done(id);
    });
    on('OPENDIR', byPath, async (id, path: string) => hold(id, { names: await fs.readdir(path), path }));
    on('READDIR', byHandle, async (id, handle: Buffer) => {
      const one = of(handle);
      const names = one.names?.splice(0, 50) ?? [];
      if (names.length === 0) return sftp.status(id, STATUS_CODE.EOF);
      const stats = await Promise.all(names.map((name) => fs.lstat(join(one.path, name))));
      sftp.name(
        id,
        names.map((filename, i) => {
          const stat = stats[i];
          return { filename, longname: filename, attrs: stat ? attributesOf(stat) : {} };
        }),
      );
    });
    on('REMOVE', byPath, async (id, path: string) => (await fs.unlink(path), done(id)));
    on('MKDIR', byPath, async (id, path: string) => (await fs.mkdir(path), done(id)));
    on('RENAME', byPath, async (id, from: string, to: string) => {
      if (!replaces && (await fs.lstat(to).catch(() => undefined))) throw new Error('taken');
      await fs.rename(from, to);
      done(id);
    });
    sftp.on('close', () => {
      for (const { file } of held.values()) void file?.close().catch(() => {});
    });
  };

  const listener = createServer((socket) => {
    const from = socket.remotePort ?? 0;
    connections += 1;
    sockets.set(from, socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(from));
    socket.setNoDelay(true);
    server.injectSocket(socket);
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo; // a TCP server's address is never a pipe's name
  const breakAll = () => {
    for (const socket of sockets.values()) socket.destroy();
  };
  const double: Double = {
    ...{ port, root, password, requests, breakAll, onLogin: undefined, fault: () => undefined },
    options: { endpoint: `sftp://ada@127.0.0.1:${port}`, root, password, host_key: key.public },
    connections: () => connections,
    open: () => sockets.size,
    received: (request) =>
      new Promise((resolve) => {
        waiting.push([request, resolve]);
      }),
    async close() {
      const closed = once(listener, 'close');
      listener.close();
      breakAll();
      await closed;
      await fs.rm(root, { recursive: true, force: true });
    },
  };
  return double;
}

type Stats = {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly atimeMs: number;
  readonly mtimeMs: number;
};

function attributesOf({ mode, uid, gid, size, atimeMs, mtimeMs }: Stats) {
  return { mode, uid, gid, size, atime: Math.floor(atimeMs / 1000), mtime: Math.floor(mtimeMs / 1000) };
}

/** Says FAILURE for everything that has no status of its own, as OpenSSH does. */
function statusOf(error: unknown): number {
  const { code } = error as { readonly code?: unknown };
  if (code === 'ENOENT' || code === 'ENOTDIR') return STATUS_CODE.NO_SUCH_FILE;
  return code === 'EACCES' || code === 'EPERM' ? STATUS_CODE.PERMISSION_DENIED : STATUS_CODE.FAILURE;
}
