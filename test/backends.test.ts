/** Every driver of a remote backend, through the registry, against servers that fail in each way there is. */
import { generateKeyPairSync } from 'node:crypto';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  type BaseConnector,
  ConnectorRegistry,
  type FileConnector,
  ServerlessConnector,
  VectorConnector,
} from '../src/index.ts';
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

type Options = Readonly<Record<string, unknown>>;
type Kind = 'vector' | 'file' | 'serverless';
type Backend = {
  /** Not told to the connector where its options say where it leads. */
  readonly hasEndpoint?: false;
  endpoint(host: string, port: number, tls: boolean): string;
  /** Each holds the canary. */
  readonly credentials: Readonly<Record<string, string>>;
  options?(endpoint: string): Options;
  /** Absent where TLS begins with a word of the protocol's own, which no other server says, and where there is none. */
  readonly tls?: true;
  /** What a server that answers 401 means: not every protocol is HTTP. */
  readonly speaksHttp: boolean;
  /** Whatever HTTP answers is the answer of a function, so that it takes bytes that are no HTTP to be nonsense. */
  readonly callsAlone?: true;
};
const overHttp = (host: string, port: number, tls: boolean) => `http${tls ? 's' : ''}://${host}:${port}`;
const HTTP = { endpoint: overHttp, speaksHttp: true, tls: true } as const;

const BACKENDS: Readonly<Record<`${Kind}/${string}`, Backend>> = {
  'vector/pgvector': {
    endpoint: (host, port) => `postgres://app@${host}:${port}/vectors`,
    credentials: { password: SECRET },
    options: () => ({ ssl: 'disable' }),
    speaksHttp: false,
  },
  'vector/chroma': { ...HTTP, credentials: { api_key: SECRET } },
  'vector/qdrant': { ...HTTP, credentials: { api_key: SECRET } },
  'vector/pinecone': { ...HTTP, credentials: { api_key: SECRET }, options: () => ({ index: 'docs' }) },
  'vector/weaviate': {
    ...HTTP,
    credentials: { api_key: SECRET },
    options: (grpc_endpoint) => ({ grpc_endpoint }),
  },
  'vector/milvus': { ...HTTP, credentials: { token: SECRET }, speaksHttp: false },
  'file/s3': {
    ...HTTP,
    credentials: { access_key_id: 'key', secret_access_key: SECRET },
    options: () => ({ region: 'us-east-1', bucket: 'docs' }),
  },
  'file/azure': {
    ...HTTP,
    credentials: { account_key: Buffer.from(SECRET).toString('base64') },
    options: () => ({ account: 'acme', container: 'docs' }),
  },
  'file/gcs': {
    ...HTTP,
    credentials: { service_account_key: serviceAccountKey() },
    options: (token_endpoint) => ({ bucket: 'docs', token_endpoint }),
  },
  'file/sftp': {
    endpoint: (host, port) => `sftp://app@${host}:${port}`,
    credentials: { password: SECRET },
    options: () => ({ host_key: `SHA256:${'A'.repeat(43)}` }),
    speaksHttp: false,
  },
  'file/webdav': { ...HTTP, credentials: { password: SECRET }, options: () => ({ username: 'app' }) },
  'serverless/aws_lambda': {
    ...HTTP,
    credentials: { access_key_id: 'key', secret_access_key: SECRET },
    options: () => ({ region: 'us-east-1' }),
  },
  'serverless/gcp_functions': {
    ...{ ...HTTP, hasEndpoint: false },
    credentials: { service_account_key: serviceAccountKey() },
    options: (at) => ({
      ...{ project_id: 'acme-project', region: 'europe-west1' },
      ...{ api_endpoint: at, token_endpoint: at },
    }),
  },
  'serverless/azure_functions': { ...HTTP, credentials: { function_key: SECRET }, callsAlone: true },
  'serverless/cloudflare_workers': {
    ...{ ...HTTP, hasEndpoint: false },
    credentials: { api_token: SECRET },
    options: (api_endpoint) => ({ api_endpoint, account_id: 'a'.repeat(32) }),
  },
  'serverless/openfaas': { ...HTTP, credentials: { password: SECRET } },
  'serverless/http': {
    ...HTTP,
    credentials: { api_key: SECRET },
    options: () => ({ health_path: '/health' }),
    callsAlone: true,
  },
};

/** A key whose id, which is of no use to anybody but us, is the canary. */
function serviceAccountKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return JSON.stringify({
    ...{ type: 'service_account', client_email: 'app@example.iam.gserviceaccount.com' },
    ...{ private_key_id: SECRET, private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }) },
  });
}

/** Any call that reaches the backend. */
function use(connector: BaseConnector): Promise<unknown> {
  if (connector instanceof VectorConnector) return connector.search([1, 0, 0]);
  if (connector instanceof ServerlessConnector)
    return BACKENDS[`serverless/${connector.provider}`]?.callsAlone
      ? connector.invoke('default', null)
      : connector.listFunctions();
  return (connector as FileConnector).statFile('a');
}

let registry: ConnectorRegistry;
let made = 0;
beforeAll(async () => {
  registry = await ConnectorRegistry.open();
});
afterAll(() => registry.close());

for (const [name, backend] of Object.entries(BACKENDS)) {
  describe(`a connector of ${name}`, () => {
    const [connectorType, provider] = name.split('/') as [Kind, string];
    const specTo = ({ host, port }: FaultyServer, tls = false) => {
      const endpoint = backend.endpoint(host, port, tls);
      return {
        ...{ name: `${provider}-${++made}`, connectorType, provider },
        ...(connectorType === 'vector' && { vectorDimension: 3 }),
        config: {
          ...(backend.hasEndpoint !== false && { endpoint }),
          ...{ timeoutSeconds: 1, maxRetries: 0, credentials: backend.credentials },
          options: { ...backend.options?.(endpoint) },
        },
      };
    };
    const connectorTo = (server: FaultyServer, { tls = false } = {}): Promise<BaseConnector> =>
      registry.create({ tenantId: 'acme', ...specTo(server, tls) });

    /** The failure of a call, which is also what the connector remembers, in its figures and in its status. */
    const failureOf = async (connector: BaseConnector) => {
      const failure: unknown = await use(connector).catch((error: unknown) => error);
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
    const failedStage = async (connector: BaseConnector) => {
      const { stages } = await connector.healthCheck();
      expect(JSON.stringify(stages)).not.toContain(SECRET);
      return stages.find(({ status }) => status === 'failed');
    };

    const cases = [
      { what: 'nobody listens', start: closedPort, code: 'unavailable', stage: 'connect' },
      { what: 'nobody answers', start: blackHole, code: 'timeout', stage: 'credentials' },
      {
        what: 'the server talks nonsense',
        start: backend.speaksHttp && !backend.callsAlone ? nonsense : garbage,
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
          await expect(use(connector)).rejects.toMatchObject({ code: 'auth_failed' });
        } finally {
          await server.close();
        }
      });
    }

    it('may not reach this machine when a tenant made it', async () => {
      const server = await blackHole();
      try {
        const connector = await registry.forTenant('acme').create(specTo(server));
        await expect(use(connector)).rejects.toMatchObject({ code: 'egress_denied' });
        expect(server.connections()).toBe(0);
      } finally {
        await server.close();
      }
    });
  });
}

/** What each cloud's connectors say when they would be whoever this host is. */
const AMBIENT: Readonly<Record<string, Options>> = {
  'file/s3': { region: 'us-east-1', bucket: 'docs' },
  'file/azure': { account: 'acme', container: 'docs' },
  'file/gcs': { bucket: 'docs' },
  'serverless/aws_lambda': { region: 'us-east-1' },
  'serverless/gcp_functions': {},
  'serverless/azure_functions': { audience: 'api://app' },
};

describe('the identity of this host', () => {
  it.each(Object.entries(AMBIENT))(
    'is not that of a connector of %s which a tenant made, wherever it may be found',
    async (name, options) => {
      const cloud = await statusServer(200, { access_token: SECRET, AccessKeyId: SECRET, token: SECRET });
      const tls = await selfSigned();
      const found = {
        ...{ AWS_ACCESS_KEY_ID: 'host', AWS_SECRET_ACCESS_KEY: SECRET },
        ...{ AWS_CONTAINER_CREDENTIALS_FULL_URI: cloud.url, AWS_EC2_METADATA_SERVICE_ENDPOINT: cloud.url },
        ...{ GCE_METADATA_HOST: `${cloud.host}:${cloud.port}`, METADATA_SERVER_DETECTION: 'assume-present' },
        ...{ IDENTITY_ENDPOINT: `${cloud.url}/token`, IDENTITY_HEADER: SECRET, MSI_ENDPOINT: cloud.url },
        ...{ AZURE_TENANT_ID: 'host', AZURE_CLIENT_ID: 'host', AZURE_CLIENT_SECRET: SECRET },
        AZURE_AUTHORITY_HOST: cloud.url,
      };
      for (const [variable, value] of Object.entries(found)) vi.stubEnv(variable, value);
      const open = await ConnectorRegistry.open({ egress: { allowPrivate: true } });
      try {
        const [connectorType, provider] = name.split('/') as [Kind, string];
        const connector = await open.forTenant('acme').create({
          ...{ name: 'ambient', connectorType, provider },
          config: { endpoint: tls.url, authType: 'iam', maxRetries: 0, options },
        });
        const failure: unknown = await use(connector).catch((error: unknown) => error);
        expect(failure).toMatchObject({ code: 'permission_denied' });
        expect(inspect(failure, { depth: 10, showHidden: true })).not.toContain(SECRET);
        expect(await connector.healthCheck()).toMatchObject({ ok: false });
        // Neither the cloud nor the backend has heard of it.
        expect([cloud.connections(), tls.connections()]).toEqual([0, 0]);
      } finally {
        vi.unstubAllEnvs();
        await open.close();
        await Promise.all([cloud.close(), tls.close()]);
      }
    },
  );
});
