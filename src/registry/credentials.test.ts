import { inspect } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ConnectorError } from '../errors/error.ts';
import { registryWith, vectors } from './registry.fixture.ts';
import { ConnectorRegistry } from './registry.ts';

const CANARY = 'canary-91c0-secret';

describe('credentials', () => {
  it('reach the driver in clear and are masked everywhere else, wherever the caller put them', async () => {
    const { registry, seen } = await registryWith();
    const connector = await registry.createVectorConnector({
      ...vectors(),
      config: { options: { api_key: CANARY, mode: 'b' }, credentials: { 'auth.password': `${CANARY}-2` } },
    });
    await connector.connect();
    expect(seen.opened[0]?.options).toEqual({
      api_key: CANARY,
      auth: { password: `${CANARY}-2` },
      mode: 'b',
    });
    const shown = [
      JSON.stringify(connector),
      inspect(connector, { depth: 9, showHidden: true }),
      JSON.stringify(await registry.list()),
    ];
    expect(shown.join()).not.toContain(CANARY);
    // The registry keeps no value in clear beside the open client, not even for who asks.
    expect(connector.config.toDict({ includeSecrets: true }).credentials).toEqual({
      api_key: '***',
      'auth.password': '***',
    });
    expect(connector.config.toDict()).toMatchObject({
      options: { mode: 'b' },
      credentials: { api_key: '***', 'auth.password': '***' },
    });
  });

  it('are kept by an update that sends *** back, replaced by another value, and dropped when left out', async () => {
    const { registry, seen } = await registryWith();
    const connector = await registry.createVectorConnector({
      ...vectors(),
      config: { credentials: { api_key: CANARY } },
    });
    await registry.update(connector.connectorId, {
      config: { credentials: { api_key: '***' }, timeoutSeconds: 5 },
    });
    await connector.connect();
    await registry.update(connector.connectorId, { config: { credentials: { api_key: 'other' } } });
    await connector.connect();
    await registry.update(connector.connectorId, { config: { credentials: {} } });
    await connector.connect();
    expect(seen.opened.map(({ options }) => (options as { api_key?: string }).api_key)).toEqual([
      CANARY,
      'other',
      undefined,
    ]);
    expect(connector.config.timeoutSeconds).toBe(5);
  });

  it('cannot be kept where none is stored', async () => {
    const { registry } = await registryWith();
    await expect(
      registry.createVectorConnector({ ...vectors(), config: { credentials: { api_key: '***' } } }),
    ).rejects.toMatchObject({ code: 'invalid_argument', issues: [{ path: 'config.credentials.api_key' }] });
  });

  it('may be references for an administrator alone', async () => {
    const { registry, seen } = await registryWith({}, { env: { DB_KEY: CANARY } });
    const spec = {
      name: 'docs',
      provider: 'scripted',
      vectorDimension: 3,
      config: { credentials: { api_key: { from_env: 'DB_KEY' } } },
    };
    await expect(registry.forTenant('acme').createVectorConnector(spec)).rejects.toMatchObject({
      code: 'permission_denied',
    });
    const connector = await registry.forTenant('acme', { admin: true }).createVectorConnector(spec);
    await connector.connect();
    expect(seen.opened[0]?.options).toMatchObject({ api_key: CANARY });
    expect(JSON.stringify(connector)).not.toContain('DB_KEY');
  });

  it('leave a connector registered while a reference leads nowhere', async () => {
    const { registry } = await registryWith();
    const connector = await registry.createVectorConnector({
      ...vectors(),
      config: { maxRetries: 0, credentials: { api_key: { from_env: 'MISSING' } } },
    });
    expect(connector.status).toBe('registered');
    await expect(connector.connect()).rejects.toMatchObject({
      code: 'invalid_state',
      message: expect.stringContaining('MISSING'),
    });
  });

  it('never show in the error of a driver that echoes them', async () => {
    const echo = async () => {
      throw new ConnectorError('auth_failed', `key ${CANARY} refused`, { details: { sent: CANARY } });
    };
    const { registry } = await registryWith({ open: echo });
    const connector = await registry.createVectorConnector({
      ...vectors(),
      config: { credentials: { api_key: CANARY } },
    });
    const failure = await connector.connect().catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'auth_failed', connectorId: connector.connectorId });
    expect(inspect(failure, { depth: 9 }) + JSON.stringify(connector)).not.toContain(CANARY);
  });

  it('never show in the cause of an error, printed whole', async () => {
    const search = async () => {
      throw new ConnectorError('backend_error', 'refused', {
        cause: new TypeError(`sent ${CANARY}`, { cause: { key: CANARY } }),
      });
    };
    const { registry } = await registryWith({ client: { search } });
    const connector = await registry.createVectorConnector({
      ...vectors(),
      config: { credentials: { api_key: CANARY } },
    });
    const failure = await connector.search([1, 0, 0]).catch((error: unknown) => error);
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain(CANARY);
    expect(failure).toMatchObject({
      code: 'backend_error',
      cause: { name: 'TypeError', message: 'sent ***' },
    });
  });

  it('that the backend refused are not tried again until the configuration changes', async () => {
    let accepted = false;
    const { registry, seen } = await registryWith({
      open: async () => {
        if (!accepted) throw new ConnectorError('auth_failed', 'refused');
      },
    });
    const connector = await registry.createVectorConnector(vectors());
    await expect(connector.connect()).rejects.toMatchObject({ code: 'auth_failed' });
    await expect(connector.search([1, 0, 0])).rejects.toMatchObject({ code: 'auth_failed' });
    expect([seen.opened.length, connector.status, connector.errorCount]).toEqual([1, 'error', 1]);
    accepted = true;
    await registry.update(connector.connectorId, { config: { credentials: { api_key: 'new' } } });
    await connector.connect();
    expect(connector.status).toBe('connected');
  });
});

describe('options for administrators', () => {
  it('are refused to a tenant and allowed to an administrator', async () => {
    const { registry } = await registryWith();
    const spec = {
      name: 'docs',
      provider: 'scripted',
      vectorDimension: 3,
      config: { options: { root: '/srv' } },
    };
    await expect(registry.forTenant('acme').createVectorConnector(spec)).rejects.toMatchObject({
      code: 'permission_denied',
      issues: [{ path: 'config.options.root' }],
    });
    const connector = await registry.forTenant('acme', { admin: true }).createVectorConnector(spec);
    await expect(
      registry.forTenant('acme').update(connector.connectorId, { config: { options: { root: '/etc' } } }),
    ).rejects.toMatchObject({ code: 'permission_denied' });
  });

  it('are refused to a tenant also where they are credentials, which go on as they are kept', async () => {
    // Its text names files and URLs of this host.
    const account = (file: string) =>
      JSON.stringify({
        ...{ type: 'external_account', audience: 'a', subject_token_type: 't' },
        token_url: 'https://sts.example.com/token',
        service_account_impersonation_url: 'https://iam.example.com/sa:generateAccessToken',
        credential_source: { file },
      });
    const registry = await ConnectorRegistry.open();
    onTestFinished(() => registry.close());
    const spec = (external_account: string) => ({
      name: 'functions',
      provider: 'gcp_functions',
      config: {
        endpoint: 'https://functions.example.com',
        authType: 'iam' as const,
        credentials: { external_account },
      },
    });
    const tenant = registry.forTenant('acme');
    const denied = {
      code: 'permission_denied',
      issues: [{ path: 'config.credentials.external_account' }],
    };
    await expect(tenant.createServerlessConnector(spec(account('/etc/passwd')))).rejects.toMatchObject(
      denied,
    );
    const admin = registry.forTenant('acme', { admin: true });
    const { connectorId } = await admin.createServerlessConnector(spec(account('/run/token')));
    for (const config of [
      { credentials: { external_account: account('/etc/passwd') } },
      { options: { external_account: account('/etc/passwd') } },
    ])
      await expect(tenant.update(connectorId, { config })).rejects.toMatchObject(denied);
    const kept = await tenant.update(connectorId, {
      config: { timeoutSeconds: 5, credentials: { external_account: '***' } },
    });
    expect(kept.config.timeoutSeconds).toBe(5);
  });
});
