import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ConnectorRegistry } from '../../../registry/registry.ts';
import type { ServerlessClient } from '../../../driver.ts';
import driver from './index.ts';
import { NEVER, openLocal, scratchFolder } from './local.fixture.ts';

const CANARY = 'canary-4e1b-value';

const scratch = scratchFolder();

async function registry() {
  const dataDir = mkdtempSync(join(tmpdir(), 'functions-env-'));
  const lines: string[] = [];
  const keep = (...parts: unknown[]) => void lines.push(inspect(parts, { depth: 9 }));
  const opened = await ConnectorRegistry.open({
    dataDir,
    log: { debug: keep, info: keep, warn: keep, error: keep },
    drivers: { 'serverless/local': async () => ({ default: driver }) },
  });
  onTestFinished(async () => {
    await opened.close();
    rmSync(dataDir, { recursive: true });
  });
  return { opened, dataDir, lines };
}

const spec = (config: object) => ({ tenantId: 'acme', name: 'f', provider: 'local', config });

describe('the environment of functions', () => {
  it('is a credential for each variable, which functions read and nothing else holds', async () => {
    const { opened, dataDir, lines } = await registry();
    const connector = await opened.createServerlessConnector(
      spec({ options: { env: { API_KEY: CANARY } }, credentials: { 'env.OTHER': `${CANARY}-2` } }),
    );
    const code =
      'export const handler = () => [Deno.env.get("API_KEY"), Deno.env.get("OTHER")].map((v) => v?.length);';
    await connector.deployFunction('f', { code });
    expect((await connector.invoke('f', null)).result).toEqual([CANARY.length, CANARY.length + 2]);
    expect(connector.config.toDict()).toMatchObject({
      options: {},
      credentials: { 'env.API_KEY': '***', 'env.OTHER': '***' },
    });
    const shown = inspect([connector, await opened.list(), await opened.providers()], {
      depth: 9,
      showHidden: true,
    });
    await opened.close();
    const files = readdirSync(dataDir, { recursive: true }).map((name) => join(dataDir, String(name)));
    const stored = files
      .filter((file) => statSync(file).isFile())
      .map((file) => readFileSync(file, 'latin1'));
    expect([shown, ...stored, ...lines].join()).not.toContain('canary');
  });

  it('is that of the client that is called, also once a call of a client that was closed under it has ended', async () => {
    const code = `export const handler = async (ms: number) => {
      await new Promise((done) => setTimeout(done, ms));
      return Deno.env.get('KEY');
    };`;
    const call = async (client: ServerlessClient, ms: number) =>
      (await client.invoke('f', ms, { requestId: 'r', timeoutMs: 20_000 }, NEVER)).result;
    const before = await openLocal(scratch(), { options: { env: { KEY: 'before' } } });
    await before.deploy?.('f', { code }, NEVER);
    const [idle, long] = [call(before, 0), call(before, 200)];
    expect(await idle).toBe('before');
    const after = await openLocal(scratch(), { options: { env: { KEY: 'rotated' } } });
    onTestFinished(() => after.close());
    expect(await call(after, 0)).toBe('rotated');
    await before.close();
    expect(await long).toBe('before');
    expect(await Promise.all([0, 0, 0, 0].map((ms) => call(after, ms)))).toEqual(Array(4).fill('rotated'));
  });

  it.each(['LD_PRELOAD', 'DENO_DIR', 'NODE_OPTIONS', 'https_proxy', '1A', 'A-B', 'a.b'])(
    'has no variable named %s',
    async (name) => {
      const { opened } = await registry();
      const refused = opened.createServerlessConnector(spec({ options: { env: { [name]: CANARY } } }));
      await expect(refused).rejects.toMatchObject({
        code: 'invalid_argument',
        issues: [
          { path: `config.options.env.${name}`, message: expect.stringContaining('no name for a variable') },
        ],
      });
    },
  );

  it('has at most 100 variables', () => {
    const env = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`VARIABLE_${n}`, 'x']));
    expect(driver.options.safeParse({ env: env(100) }).success).toBe(true);
    expect(driver.options.safeParse({ env: env(101) }).error?.issues[0]?.message).toBe(
      'has at most 100 variables',
    );
  });
});
