import type { FastifyInstance } from 'fastify';
import { onTestFinished } from 'vitest';
import { type RegistryOptions, ConnectorRegistry } from '../../src/index.ts';
import type { Role } from '../../src/store/store.ts';
import { httpApp, serverLogger } from '../../src/server/index.ts';
import { checkAnswer } from './check-answer.ts';
import { fakeDrivers } from './fake-drivers.ts';

export type Answer = {
  readonly status: number;
  readonly text: string;
  /** The body, parsed when it is asked for; tests look into it freely. */
  readonly json: never;
  readonly headers: Readonly<Record<string, unknown>>;
};

export type Asking = {
  readonly key?: string;
  readonly body?: unknown;
  readonly raw?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
};

export type Server = {
  readonly registry: ConnectorRegistry;
  readonly app: FastifyInstance;
  /** Every line that was logged. */
  readonly logged: string[];
  /** An administrator of all tenants. */
  readonly root: string;
  keyFor(tenantId: string | null, role: Role): Promise<string>;
  /** Asks `METHOD /path` below `/api/v1`, or of the whole server for a path with two leading slashes. */
  ask(what: string, asking?: Asking): Promise<Answer>;
  close(): Promise<void>;
};

/** A server over fake drivers, asked without a socket. */
export async function openServer(options: RegistryOptions = {}): Promise<Server> {
  const logged: string[] = [];
  const logger = serverLogger({ level: 'debug' }, { write: (line: string) => void logged.push(line) });
  const registry = await ConnectorRegistry.open({ drivers: fakeDrivers, ...options });
  const app = await httpApp({ registry, logger, host: '127.0.0.1' });
  const keyFor = async (tenantId: string | null, role: Role) =>
    (await registry.keys.create({ tenantId, role })).key;
  const root = await keyFor(null, 'admin');
  return {
    registry,
    app,
    logged,
    root,
    keyFor,
    async ask(what, { key = root, body, raw, headers = {} } = {}) {
      const [method = 'GET', path = '/'] = what.split(' ');
      const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body));
      const response = await app.inject({
        method,
        url: path.startsWith('//') ? path.slice(1) : `/api/v1${path}`,
        headers: {
          host: '127.0.0.1:7420',
          ...(key !== '' && { authorization: `Bearer ${key}` }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...(raw !== undefined && { 'content-type': 'application/octet-stream' }),
          ...headers,
        },
        ...(payload !== undefined && { payload }),
      });
      const answer = {
        status: response.statusCode,
        text: response.body,
        get json() {
          return JSON.parse(response.body) as never;
        },
        headers: response.headers,
      };
      checkAnswer(method, path, String(headers['content-type']), answer);
      return answer;
    },
    async close() {
      await app.close();
      await registry.close();
    },
  };
}

/** The same for one test, closed when it ends. */
export async function testServer(options: RegistryOptions = {}): Promise<Server> {
  const server = await openServer(options);
  onTestFinished(() => server.close());
  return server;
}

export const SPECS = {
  vector: { connector_type: 'vector', provider: 'fake', name: 'vectors', vector_dimension: 3 },
  file: { connector_type: 'file', provider: 'fake', name: 'files' },
  serverless: { connector_type: 'serverless', provider: 'fake', name: 'functions' },
} as const;
