/** Every driver of a remote vector backend, through the registry, against servers that fail in each way there is. */
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConnectorRegistry, type VectorConnector } from '../src/index.ts';
import {
  blackHole,
  closedPort,
  garbage,
  nonsense,
  selfSigned,
  statusServer,
  type FaultyServer,
} from '../src/testing/faulty-servers.fixture.ts';

const SECRET = 'canary-5b1f0e7a93c2';

type Backend = {
  endpoint(host: string, port: number, tls: boolean): string;
  readonly secret: string;
  options?(endpoint: string): Readonly<Record<string, unknown>>;
  /** Absent where TLS begins with a word of the protocol's own, which no other server says. */
  readonly tls?: true;
  /** What a server that answers 401 means: not every protocol is HTTP. */
  readonly speaksHttp: boolean;
};
const overHttp = (host: string, port: number, tls: boolean) => `http${tls ? 's' : ''}://${host}:${port}`;

const BACKENDS: Readonly<Record<string, Backend>> = {
  pgvector: {
    endpoint: (host, port) => `postgres://app@${host}:${port}/vectors`,
    secret: 'password',
    options: () => ({ ssl: 'disable' }),
    speaksHttp: false,
  },
  chroma: { endpoint: overHttp, secret: 'api_key', speaksHttp: true, tls: true },
  qdrant: { endpoint: overHttp, secret: 'api_key', speaksHttp: true, tls: true },
  pinecone: {
    endpoint: overHttp,
    secret: 'api_key',
    options: () => ({ index: 'docs' }),
    speaksHttp: true,
    tls: true,
  },
  weaviate: {
    endpoint: overHttp,
    secret: 'api_key',
    options: (grpc_endpoint) => ({ grpc_endpoint }),
    speaksHttp: true,
    tls: true,
  },
  milvus: { endpoint: overHttp, secret: 'token', speaksHttp: false, tls: true },
};

let registry: ConnectorRegistry;
let made = 0;
beforeAll(async () => {
  registry = await ConnectorRegistry.open();
});
afterAll(() => registry.close());

for (const [provider, backend] of Object.entries(BACKENDS)) {
  describe(`a connector of ${provider}`, () => {
    const connectorTo = (
      { host, port }: FaultyServer,
      { tls = false }: { readonly tls?: boolean } = {},
    ): Promise<VectorConnector> =>
      registry.createVectorConnector({
        ...{ tenantId: 'acme', name: `${provider}-${++made}`, provider, vectorDimension: 3 },
        config: {
          endpoint: backend.endpoint(host, port, tls),
          ...{ timeoutSeconds: 1, maxRetries: 0, credentials: { [backend.secret]: SECRET } },
          options: { ...backend.options?.(backend.endpoint(host, port, tls)) },
        },
      });

    /** The failure of a search, which is also what the connector remembers, in its figures and in its status. */
    const failureOf = async (connector: VectorConnector) => {
      const failure: unknown = await connector.search([1, 0, 0]).catch((error: unknown) => error);
      const { status, lastError, errorCount } = connector;
      // Where the errors agree, the one that was thrown is enough to look at.
      expect({ status, errorCount, code: lastError?.code }).toEqual({
        ...{ status: 'error', errorCount: 1 },
        code: (failure as { readonly code: unknown }).code,
      });
      const shown = inspect([failure, connector.toDict()], { depth: 10, showHidden: true });
      expect(shown).not.toContain(SECRET);
      return failure as { readonly code: string; readonly message: string };
    };

    /** The stage that a test of the connector stops at. */
    const failedStage = async (connector: VectorConnector) => {
      const { stages } = await connector.healthCheck();
      expect(JSON.stringify(stages)).not.toContain(SECRET);
      return stages.find(({ status }) => status === 'failed');
    };

    const cases = [
      { what: 'nobody listens', start: closedPort, code: 'unavailable', stage: 'connect' },
      { what: 'nobody answers', start: blackHole, code: 'timeout', stage: 'credentials' },
      {
        what: 'the server talks nonsense',
        start: backend.speaksHttp ? nonsense : garbage,
        code: 'backend_error',
        stage: 'credentials',
      },
    ];
    for (const { what, start, code, stage } of cases) {
      it(`is ${code} where ${what}`, async () => {
        const server = await start();
        try {
          const connector = await connectorTo(server);
          expect(await failureOf(connector)).toMatchObject({ code });
          expect(await failedStage(connector)).toMatchObject({ name: stage, code });
        } finally {
          await server.close();
        }
      });
    }

    if (backend.tls) {
      it('is unavailable and says TLS where the certificate is not trusted', async () => {
        const server = await selfSigned();
        try {
          const failure = await failureOf(await connectorTo(server, { tls: true }));
          expect(failure).toMatchObject({ code: 'unavailable', message: expect.stringMatching(/TLS/) });
        } finally {
          await server.close();
        }
      });
    }

    if (backend.speaksHttp) {
      it('is auth_failed where the credentials are refused, and does not try them again', async () => {
        const server = await statusServer(401, { error: `no such key ${SECRET}` });
        try {
          const connector = await connectorTo(server);
          expect(await failureOf(connector)).toMatchObject({ code: 'auth_failed' });
          await server.close();
          await expect(connector.search([1, 0, 0])).rejects.toMatchObject({ code: 'auth_failed' });
        } finally {
          await server.close();
        }
      });
    }

    it('may not reach this machine when a tenant made it', async () => {
      const server = await blackHole();
      try {
        const { host, port } = server;
        const connector = await registry.forTenant('acme').createVectorConnector({
          ...{ name: `${provider}-own`, provider, vectorDimension: 3 },
          config: {
            endpoint: backend.endpoint(host, port, false),
            credentials: { [backend.secret]: SECRET },
            options: { ...backend.options?.(backend.endpoint(host, port, false)) },
          },
        });
        await expect(connector.search([1, 0, 0])).rejects.toMatchObject({ code: 'egress_denied' });
      } finally {
        await server.close();
      }
    });
  });
}
