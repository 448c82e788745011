import { type Clock, ConnectorError, type OpenContext } from '../../../driver.ts';
import { type Connection, dial } from './connection.ts';
import { NO_SUCH_FILE, OP_UNSUPPORTED, statusOf } from './errors.ts';
import { during, type Exchange } from './exchange.ts';
import type { SftpOptions } from './options.ts';
import { finished, temporaryName } from './temporary.ts';

/** What a server does beyond the protocol. */
export type Features = {
  readonly posixRename: boolean;
  readonly hardlink: boolean;
  readonly fsync: boolean;
  readonly copyData: boolean;
  /** Whether a folder can be opened and synced, which makes new names in it durable. */
  readonly folderSync: boolean;
};

/** A connection whose root is known. */
export class Session {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly root: string;
  readonly features: Features;

  constructor(connection: Connection, clock: Clock, root: string, features: Features) {
    this.connection = connection;
    this.clock = clock;
    this.root = root;
    this.features = features;
  }

  /** The server's own path of one below the root; `''` is the root. */
  at(path: string): string {
    // The path rule lies above; this is what containment rests on should anything get past it.
    if (path !== '' && path.split('/').some((each) => each === '' || each === '.' || each === '..'))
      throw new TypeError('a path is of plain segments');
    if (path === '') return this.root;
    return this.root === '/' ? `/${path}` : `${this.root}/${path}`;
  }
}

type Parts = {
  readonly options: SftpOptions;
  readonly context: Pick<OpenContext, 'network' | 'clock'>;
};

/** Connects and finds the root. Each half is run by `stage`, so that a person sees which of the two failed. */
export async function openSession(
  { options, context }: Parts,
  signal: AbortSignal,
  stage: OpenContext['stage'] = (_name, step) => step(),
): Promise<Session> {
  const connection = await stage('credentials', () => dial(options, context.network, signal));
  try {
    return await stage('bucket', () =>
      during(connection, context.clock, signal, async (exchange) => {
        const root = await rootOf(exchange, options.root);
        return new Session(connection, context.clock, root, await featuresOf(exchange, root));
      }),
    );
  } catch (error) {
    await connection.close();
    throw error;
  }
}

/** The real path of the root: a link on the way to it is whoever named it's own affair, one below it is refused. */
async function rootOf(exchange: Exchange, named: string | undefined): Promise<string> {
  const what = named === undefined ? 'the folder of the login' : `the folder ${named}`;
  const missing = (cause?: unknown) =>
    new ConnectorError('not_found', `${what} does not exist on the server`, {
      cause,
      details: { root: named ?? null },
    });
  try {
    const real = await exchange.realpath(named ?? '.');
    if (!real.startsWith('/'))
      throw new ConnectorError('backend_error', 'the server answered a real path that does not begin with /');
    const root = real.length > 1 && real.endsWith('/') ? real.slice(0, -1) : real;
    const attributes = await exchange.lstat(root);
    if (!attributes.isDirectory()) throw missing();
    return root;
  } catch (error) {
    throw statusOf(error) === NO_SUCH_FILE ? missing(error) : error;
  }
}

/** Asks for things that cannot succeed: ssh2 does not say which extensions it was told of, only refuses the others. */
async function featuresOf(exchange: Exchange, root: string): Promise<Features> {
  const none = temporaryName();
  finished(none);
  const path = `${root}/${none}`;
  const handle = Buffer.from('none');
  const isOffered = async (request: Promise<unknown>): Promise<boolean> => {
    try {
      await request;
      return true;
    } catch (error) {
      const status = statusOf(error);
      if (status !== undefined) return status !== OP_UNSUPPORTED;
      if (error instanceof ConnectorError && error.code === 'unsupported') return false;
      throw error;
    }
  };
  const [posixRename, hardlink, fsync, copyData, folderSync] = await Promise.all([
    isOffered(exchange.posixRename(path, `${path}-`)),
    isOffered(exchange.hardlink(path, `${path}-`)),
    isOffered(exchange.fsync(handle)),
    isOffered(exchange.copyData(handle, handle, 0, 1)),
    isFolderSynced(exchange, root),
  ]);
  return { posixRename, hardlink, fsync, copyData, folderSync };
}

async function isFolderSynced(exchange: Exchange, root: string): Promise<boolean> {
  try {
    const handle = await exchange.open(root, 'r');
    try {
      await exchange.fsync(handle);
      return true;
    } finally {
      exchange.release(handle);
    }
  } catch (error) {
    if (statusOf(error) === undefined && !(error instanceof ConnectorError && error.code === 'unsupported'))
      throw error;
    return false;
  }
}
