import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { expect, it, onTestFinished } from 'vitest';
import { ConnectorRegistry } from '../../src/index.ts';
import { serverLogger, startServer } from '../../src/server/index.ts';

it('reads nothing of what is posted to an address that is not valid', async () => {
  const logger = serverLogger({ level: 'silent' }, { write: () => {} });
  const registry = await ConnectorRegistry.open();
  const server = await startServer({ registry, port: 0, logger });
  onTestFinished(async () => {
    await server.close();
    await registry.close();
  });
  const { connectorId } = await registry.forTenant('acme').createServerlessConnector({
    name: 'functions',
    provider: 'openfaas',
    config: { endpoint: 'https://gateway.example.com' },
  });
  for (const id of [connectorId, 'nobody']) {
    // It is announced and never comes: whoever waits for it answers nothing.
    const headers = { 'content-length': 16 * 2 ** 20 };
    const posted = request(`${server.url}/callbacks/${id}/v1.forged`, { method: 'POST', headers });
    posted.on('error', () => {});
    posted.flushHeaders();
    const [answer] = (await once(posted, 'response')) as [IncomingMessage];
    expect(answer.statusCode).toBe(403);
    expect(await text(answer)).toContain('permission_denied');
    posted.destroy();
  }
});
