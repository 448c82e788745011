import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ConnectorError } from '../errors/error.ts';
import type { scriptedDriver } from './scripted-driver.fixture.ts';
import { registryWith, vectors } from './registry.fixture.ts';

const CANARY = 'canary-5d7e-value';

type Seen = ReturnType<typeof scriptedDriver>['seen'];
const lastEnv = ({ opened }: Seen) => (opened.at(-1)?.options as { env?: unknown } | undefined)?.env;

function dataFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'secret-records-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

describe('a record of secrets', () => {
  it('reaches the driver whole, wherever the caller put each, and stands nowhere else', async () => {
    const dataDir = dataFolder();
    const lines: string[] = [];
    const keep = (...parts: unknown[]) => void lines.push(inspect(parts, { depth: 9 }));
    const log = { debug: keep, info: keep, warn: keep, error: keep };
    const { registry, seen } = await registryWith({}, { dataDir, log });
    const connector = await registry.createVectorConnector({
      ...vectors(),
      config: {
        options: { mode: 'b', env: { A: `${CANARY}-a`, 'dotted.name': `${CANARY}-d` } },
        credentials: { 'env.B': `${CANARY}-b` },
      },
    });
    await connector.connect();
    expect(seen.opened[0]?.options).toEqual({
      mode: 'b',
      env: { A: `${CANARY}-a`, B: `${CANARY}-b`, 'dotted.name': `${CANARY}-d` },
    });
    expect(connector.config.toDict()).toMatchObject({
      options: { mode: 'b' },
      credentials: { 'env.A': '***', 'env.B': '***', 'env.dotted.name': '***' },
    });
    const shown = [inspect(connector, { depth: 9, showHidden: true }), JSON.stringify(await registry.list())];
    await registry.close();
    const files = readdirSync(dataDir, { recursive: true }).map((name) => join(dataDir, String(name)));
    const stored = files
      .filter((file) => statSync(file).isFile())
      .map((file) => readFileSync(file, 'latin1'));
    expect(stored.length).toBeGreaterThan(0);
    expect([...shown, ...stored, ...lines].join()).not.toContain('canary');
  });

  it('is sealed value by value, each for its own name', async () => {
    const { registry, seen } = await registryWith();
    const { connectorId } = await registry.createVectorConnector({
      ...vectors(),
      config: { options: { env: { A: 'value-of-a', B: 'value-of-b' } } },
    });
    const update = async (config: Parameters<typeof registry.update>[1]['config']) => {
      const updated = await registry.update(connectorId, config === undefined ? {} : { config });
      await updated.connect();
      return lastEnv(seen);
    };
    // Rotated alone, by either way.
    expect(await update({ credentials: { 'env.A': 'rotated', 'env.B': '***' } })).toEqual({
      A: 'rotated',
      B: 'value-of-b',
    });
    expect(await update({ options: { env: { B: 'rotated-too' } } })).toEqual({
      A: 'rotated',
      B: 'rotated-too',
    });
    // A mask keeps the value of its own name and of no other.
    await expect(update({ credentials: { 'env.C': '***' } })).rejects.toMatchObject({
      issues: [{ path: 'config.credentials.env.C' }],
    });
    // Removed alone.
    expect(await update({ credentials: { 'env.B': '***' } })).toEqual({ B: 'rotated-too' });
    expect(await update({ credentials: {} })).toBeUndefined();
  });

  it('may hold references for an administrator alone', async () => {
    const { registry, seen } = await registryWith({}, { env: { HOST_KEY: CANARY } });
    const spec = {
      name: 'docs',
      provider: 'scripted',
      vectorDimension: 3,
      config: { credentials: { 'env.KEY': { from_env: 'HOST_KEY' } } },
    };
    await expect(registry.forTenant('acme').createVectorConnector(spec)).rejects.toMatchObject({
      code: 'permission_denied',
      issues: [{ path: 'config.credentials.env.KEY' }],
    });
    const connector = await registry.forTenant('acme', { admin: true }).createVectorConnector(spec);
    await connector.connect();
    expect(lastEnv(seen)).toEqual({ KEY: CANARY });
  });

  it.each([
    ['no object', { options: { env: `A=${CANARY}` } }, 'config.options.env'],
    ['a list', { options: { env: [CANARY] } }, 'config.options.env'],
    ['a value that is no text', { options: { env: { A: { deep: CANARY } } } }, 'config.options.env.A'],
    [
      'a name that the driver refuses',
      { credentials: { 'env.no name': CANARY } },
      'config.options.env.no name',
    ],
    ['no name', { credentials: { 'env.': CANARY } }, 'config.credentials.env.'],
    ['a name of another record', { credentials: { 'envy.A': CANARY } }, 'config.credentials.envy.A'],
  ])('is refused with %s, without a word of the value', async (_what, config, path) => {
    const { registry } = await registryWith();
    // Not even where a reference that leads nowhere keeps the configuration from being checked.
    for (const more of [{}, { api_key: { from_env: 'MISSING' } }]) {
      const credentials = { ...('credentials' in config && config.credentials), ...more };
      const made = registry.createVectorConnector({
        ...vectors(),
        config: { ...config, ...(Object.keys(credentials).length > 0 && { credentials }) },
      });
      const failure = await made.catch((error: unknown) => error);
      // A name is checked by the driver's schema, which is read once all values are known; it is sealed until then.
      if (path.endsWith('no name') && 'api_key' in more) continue;
      expect(failure).toMatchObject({ code: 'invalid_argument', issues: [{ path }] });
      expect(inspect(failure, { depth: 9 })).not.toContain(CANARY);
    }
    expect(JSON.stringify(await registry.list())).not.toContain(CANARY);
  });

  it('is listed among the secrets of its provider', async () => {
    const { registry } = await registryWith();
    const [provider] = await registry.providers();
    expect(provider?.secrets).toEqual(['api_key', 'auth.password', 'env.*']);
  });
});

describe('a value of a record of secrets', () => {
  it('never shows in an error that echoes it, in its fields or its details', async () => {
    const search = async () => {
      throw new ConnectorError('invalid_argument', `no ${CANARY}`, {
        issues: [{ path: 'source', message: `has ${CANARY}` }],
        details: { sent: [CANARY], limit: 1000 },
      });
    };
    const { registry } = await registryWith({ client: { search } });
    const config = { options: { env: { KEY: CANARY, PORT: '1000', DEBUG: '1' } } };
    const connector = await registry.createVectorConnector({ ...vectors(), config });
    const failure = await connector.search([1, 0, 0]).catch((error: unknown) => error);
    expect(inspect(failure, { depth: 9, showHidden: true })).not.toContain(CANARY);
    // What merely looks like a short setting or a number stays what it is.
    expect(failure).toMatchObject({
      code: 'invalid_argument',
      issues: [{ path: 'source', message: 'has ***' }],
      details: { sent: ['***'], limit: 1000 },
    });
  });
});
