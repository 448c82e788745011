import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { noPostgres } from '../../src/testing/postgres.fixture.ts';
import { usePostgres } from '../../src/testing/postgres-suite.fixture.ts';
import { type Asking, openServer, type Server, SPECS } from './harness.ts';

const body = {};
const invoke = (idempotency_key: string) => ({ body: { payload: 1, idempotency_key, async: true } });

/** What PostgreSQL has no text for, wherever a caller may name something by it. */
const CASES: readonly (readonly [what: string, status: number, asking?: Asking])[] = [
  ['GET /connectors/%00', 404],
  ['GET /connectors/a%00b?tenant_id=acme', 404],
  ['PATCH /connectors/%00?tenant_id=acme', 404, { body: { name: 'x' } }],
  ['DELETE /connectors/%00?tenant_id=acme', 404],
  ['POST /connectors/%00/connect?tenant_id=acme', 404, { body }],
  ['GET /connectors/%00/health?tenant_id=acme', 404],
  ['GET /connectors?name=%00', 200],
  ['GET /connectors?name=%00&status=ready&tenant_id=acme', 200],
  ['GET /connectors/ID/invocations/%00?tenant_id=acme&wait=1', 404],
  ['POST /connectors/ID/invocations/%00/cancel?tenant_id=acme', 404, { body }],
  ['GET /connectors/ID/invocations?function=%00&tenant_id=acme', 400],
  ['GET /connectors/ID/invocations?cursor=1.%00&tenant_id=acme', 400],
  ['POST /connectors/ID/functions/echo/invocations?tenant_id=acme', 400, invoke('\0')],
  ['POST /connectors/ID/functions/echo/invocations?tenant_id=acme', 400, invoke('a\0b')],
  ['POST /connectors/ID/functions/e%00/invocations?tenant_id=acme', 400, invoke('a')],
  ['DELETE /keys/%00', 404],
  ['DELETE /keys/%00?tenant_id=acme', 404],
  ['DELETE /tenants/%00', 400],
  ['POST /connectors?tenant_id=acme', 400, { body: { ...SPECS.vector, name: 'a\0b' } }],
  ['POST /connectors?tenant_id=acme', 400, { body: { ...SPECS.vector, provider: '\0' } }],
  ['POST /connectors?tenant_id=acme', 201, { body: { ...SPECS.vector, metadata: { 'a\0': '\0' } } }],
  ['GET //signed/%00/x', 403],
  ['POST //callbacks/%00/x', 403, { body }],
];

describe.skipIf(noPostgres !== undefined)('a NUL', () => {
  const postgres = usePostgres();
  const servers: { readonly server: Server; readonly connectorId: string }[] = [];
  beforeAll(async () => {
    const env = { CONNECTORS_MASTER_KEY: randomBytes(32).toString('base64') };
    for (const databaseUrl of [undefined, await postgres.database()]) {
      const server = await openServer({ databaseUrl, env });
      const functions = await server.registry.forTenant('acme').createFromDict(SPECS.serverless);
      servers.push({ server, connectorId: functions.connectorId });
    }
  }, 60_000);
  afterAll(() => Promise.all(servers.map(({ server }) => server.close())));

  for (const [what, status, asking] of CASES) {
    it(`in ${what} is ${status}, whatever the store`, async () => {
      for (const { server, connectorId } of servers) {
        const answer = await server.ask(what.replace('ID', connectorId), asking);
        expect(answer.status, answer.text).toBe(status);
        if (status === 200) expect(answer.json).toEqual({ connectors: [] });
      }
    });
  }
});
