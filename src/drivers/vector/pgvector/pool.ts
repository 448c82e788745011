import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type Pg from 'pg';
import { ConnectorError, networkFailure, type VectorOpenContext } from '../../../driver.ts';
import { failure, isDatabaseError } from './failure.ts';
import { serverOf, type PgvectorOptions } from './options.ts';

/** A value of a statement: a Buffer goes as it is, in binary; all else as text. */
export type Value = string | number | null | Buffer | readonly string[];

/** What is run: with a name it is prepared once for each connection. */
export type Statement = {
  readonly text: string;
  readonly values?: readonly Value[];
  readonly name?: string | undefined;
};

/** Rows as the server wrote them, null or text, in the order of the columns; and how many it touched. */
export type Answer = { readonly rows: readonly (readonly (string | null)[])[]; readonly count: number };

/** One connection, for the time of one call. */
export type Session = {
  run(statement: Statement): Promise<Answer>;
  /** Runs all of `task` or nothing. */
  transaction<T>(task: () => Promise<T>): Promise<T>;
};

export type Pool = {
  /** Runs `task` on a connection; where the signal is aborted, its statement is cancelled and the connection closed. */
  use<T>(signal: AbortSignal, task: (session: Session) => Promise<T>): Promise<T>;
  /** SQL that each connection runs before it is used, also those that are open already. Ends with a check of itself. */
  prepareWith(script: string, verify: (rows: Answer['rows']) => void): void;
  close(): Promise<void>;
};

const CONNECT_MS = 30_000;
const IDLE_MS = 30_000;
const CANCEL_MS = 5_000;

/** Members of `pg` that its types leave out. */
type Canceller = EventEmitter & {
  readonly stream: Socket;
  connect(port: number, host: string): void;
  requestSsl(): void;
  cancel(processId: number, secretKey: number): void;
};
type Backend = { readonly processID: number | null; readonly secretKey: number | null };

/** A pool of connections by sockets of the context's network alone, of at most `pool_size`. */
export function openPool(
  pg: Pick<typeof Pg, 'Client' | 'Pool' | 'Connection'>,
  options: PgvectorOptions,
  network: VectorOpenContext['network'],
): Pool {
  const { host, port, database, user } = serverOf(options);
  const ssl = tlsOf(options, host);
  const statementMs = options.statement_timeout_seconds * 1_000;
  const talksNonsense = new WeakSet<Socket>();
  let latest: Socket | undefined;

  const stream = (): Socket => {
    const socket = network.connect({ host, port });
    // It connects already, to an address that was checked; `pg` would have it connect on its own.
    socket.connect = () => socket;
    socket.once('data', (data: Buffer) => {
      // Authentication, error, parameter, notice or protocol version; S and N also answer the request for TLS. The
      // parser would take anything else for the length of a message and wait for gigabytes.
      if ('RESNv'.includes(String.fromCharCode(data[0] ?? 0))) return;
      talksNonsense.add(socket);
      socket.destroy();
    });
    latest = socket;
    return socket;
  };

  class Client extends pg.Client {
    constructor(config: Pg.ClientConfig) {
      super(config);
      // `pg` fills these from the environment, and the host's own settings are not the tenant's.
      const { connectionParameters } = this as unknown as { connectionParameters: Record<string, unknown> };
      Object.assign(connectionParameters, { options: undefined, replication: undefined });
    }
  }

  const pool = new pg.Pool({
    ...{ host, port, database, user, ssl, stream },
    // A function, because for an empty password `pg` would look into the environment and into files.
    password: () => options.password ?? '',
    sslnegotiation: 'postgres',
    application_name: 'connector-registry',
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_MS,
    idleTimeoutMillis: IDLE_MS,
    query_timeout: statementMs + CONNECT_MS,
    max: options.pool_size,
    allowExitOnIdle: true,
    Client: Client as unknown as new () => Pg.ClientBase,
    // Everything as it was sent, whatever parsers the host gave to its own `pg`.
    types: { getTypeParser: () => (text: string) => text },
  });
  // A connection that is lost is noticed by who uses it; one that nobody uses is replaced.
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));

  const base = [
    `SET client_encoding = 'UTF8'`,
    `SET statement_timeout = ${statementMs}`,
    `SET lock_timeout = ${statementMs}`,
    `SET idle_in_transaction_session_timeout = ${statementMs}`,
    // A role may have been given fewer digits than a number needs to come back the same.
    'SET extra_float_digits = 1',
    // Compiling a search takes longer than the search.
    'SET jit = off',
  ].join('; ');
  let script = base;
  let verify: (rows: Answer['rows']) => void = () => {};
  let prepared = new WeakSet<Pg.PoolClient>();

  const checkOut = async (signal: AbortSignal): Promise<Pg.PoolClient> => {
    latest = undefined;
    const pending = pool.connect();
    // Set where a connection is being made for this very call.
    const socket = latest as Socket | undefined;
    const stop = Promise.withResolvers<never>();
    const onAbort = (): void => {
      socket?.destroy();
      stop.reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await Promise.race([pending, stop.promise]);
    } catch (error) {
      // One that comes too late is somebody else's.
      pending.then(
        (client) => client.release(),
        () => {},
      );
      if (socket && talksNonsense.has(socket) && !signal.aborted)
        throw new ConnectorError(
          'backend_error',
          'what answers there does not speak the PostgreSQL protocol',
          {
            cause: error,
          },
        );
      throw failure(error, signal);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  };

  const cancel = ({ processID, secretKey }: Backend): void => {
    if (processID === null || secretKey === null) return;
    const canceller = new pg.Connection({ stream, ssl }) as unknown as Canceller;
    const send = (): void => canceller.cancel(processID, secretKey);
    // Best effort: the connection is closed all the same, and the server ends the statement in its own time.
    canceller.on('error', () => {});
    canceller.once('connect', ssl ? () => canceller.requestSsl() : send);
    canceller.once('sslconnect', send);
    const { stream: socket } = canceller;
    socket.setTimeout(CANCEL_MS, () => socket.destroy());
    canceller.connect(port, host);
    socket.unref();
  };

  return {
    async use(signal, task) {
      if (signal.aborted) throw networkFailure(signal.reason, signal);
      const client = await checkOut(signal);
      const stop = Promise.withResolvers<never>();
      const onAbort = (): void => {
        cancel(client as unknown as Backend);
        stop.reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      let isWhole = false;
      const work = async () => {
        if (!prepared.has(client)) {
          verify((await sendScript(client, script)).rows);
          prepared.add(client);
        }
        return task(sessionOf(client));
      };
      try {
        const working = work();
        working.catch(() => {});
        const result = await Promise.race([working, stop.promise]);
        isWhole = true;
        return result;
      } catch (error) {
        isWhole = isIntact(error, signal);
        throw failure(error, signal);
      } finally {
        signal.removeEventListener('abort', onAbort);
        client.release(!isWhole);
      }
    },
    prepareWith(more, check) {
      script = `${base}; ${more}`;
      verify = check;
      prepared = new WeakSet();
    },
    close: () => (pool.ended || pool.ending ? Promise.resolve() : pool.end()),
  };
}

function sessionOf(client: Pg.PoolClient): Session {
  const run = async ({ text, values = [], name }: Statement): Promise<Answer> => {
    const { rows, rowCount } = await client.query<(string | null)[]>({
      text,
      values: [...values],
      rowMode: 'array',
      ...(name !== undefined && { name }),
    });
    return { rows, count: rowCount ?? 0 };
  };
  return {
    run,
    async transaction(task) {
      await client.query('BEGIN');
      try {
        const result = await task();
        await client.query('COMMIT');
        return result;
      } catch (error) {
        await client.query('ROLLBACK');
        throw error;
      }
    },
  };
}

/** Several statements at once; what the last one answered. */
async function sendScript(client: Pg.PoolClient, text: string): Promise<Answer> {
  const results: unknown = await client.query({ text, rowMode: 'array' });
  const last = (Array.isArray(results) ? results.at(-1) : results) as Pg.QueryArrayResult<(string | null)[]>;
  return { rows: last.rows, count: last.rowCount ?? 0 };
}

/** Whether the connection can be used again: the server refused a statement, and nothing is left of it. */
function isIntact(error: unknown, signal: AbortSignal): boolean {
  if (signal.aborted) return false;
  if (isDatabaseError(error)) return error.severity === 'ERROR';
  return error instanceof ConnectorError;
}

function tlsOf({ ssl, ca }: PgvectorOptions, host: string): false | ConnectionOptions {
  if (ssl === 'disable') return false;
  // Named here as well, because not every version of `pg` checks a certificate against an address.
  return { rejectUnauthorized: ssl === 'verify-full', host, ...(ca !== undefined && { ca }) };
}
