import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { InvocationEnd } from '../connectors/serverless/invocations.ts';
import { invocation } from '../testing/store-suite.ts';
import { serverlessConnector } from '../testing/serverless-suite.ts';
import { Folders } from './folders.ts';
import { silentLog } from './log.ts';
import { InvocationResults } from './invocation-results.ts';
import { ConnectorRegistry } from './registry.ts';

let dataDir: string;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'results-'));
});
afterEach(async () => {
  await rm(dataDir, { recursive: true, force: true });
});

const LARGE = 'x'.repeat(300_000);
const lease = { tenantId: 't', connectorId: 'c', requestId: 'r', fence: 2 };
const where = { tenantId: 't', connectorId: 'c' };
const end: InvocationEnd = {
  status: 'completed',
  result: LARGE,
  resultFile: null,
  error: null,
  logs: null,
  durationMs: 1,
  endedAt: new Date(0),
  expiresAt: new Date(1),
};

function results() {
  const folders = new Folders(dataDir);
  const folder = join(folders.connector('t', 'serverless', 'c'), 'results');
  return {
    kept: new InvocationResults(folders, { registryId: 'registry-1', log: silentLog }),
    folder,
    files: () => readdir(folder),
  };
}

it('names a file that is there before its row is, and removes it where the row is not written', async () => {
  const { kept, files } = results();
  const seen: (readonly string[])[] = [];
  const isStored = await kept.keep(lease, end, async ({ result, resultFile }) => {
    seen.push(await files(), [resultFile ?? '']);
    expect(result).toBeNull();
    return false;
  });
  expect(isStored).toBe(false);
  expect(seen[0]).toEqual(seen[1]);
  expect(await files()).toEqual([]);
});

it('removes the files that no row names, and none that is about to be named', async () => {
  const { kept, folder, files } = results();
  let named: string | null = null;
  const nameOf = async (requestId: string) => (requestId === 'r' ? named : null);
  await kept.keep(lease, end, async ({ resultFile }) => {
    await writeFile(join(folder, 'r.1.7.json'), 'of a worker that was killed');
    await writeFile(join(folder, 'gone.1.7.json'), 'of a row that is gone');
    await kept.sweep(where, nameOf);
    expect(await files()).toEqual([resultFile]);
    named = resultFile;
    return true;
  });
  await kept.sweep(where, nameOf);
  expect(await files()).toEqual([named]);
});

it('are swept when a registry is opened, and those that rows name stay', async () => {
  const limits = { payloadBytes: 1_000, resultBytes: 1_000_000, timeoutSeconds: 900 };
  const client = {
    invoke: async () => ({ status: 'completed', result: LARGE }) as const,
    listFunctions: async () => [],
    check: async () => [],
    close: async () => {},
  };
  const able = { deploy: false, logs: false, native: false, limits } as const;
  const { functions, registry } = await serverlessConnector(client, able, { dataDir });
  const { requestId } = await functions.invoke('f', 1, { async: true });
  await functions.waitForResult(requestId);
  await registry.close();
  const { tenantId, connectorId } = functions;
  const folder = join(new Folders(dataDir).connector(tenantId, 'serverless', connectorId), 'results');
  const [named] = await readdir(folder);
  await writeFile(join(folder, `${requestId}.0.7.json`), 'of a worker that was killed');
  const again = await ConnectorRegistry.open({ dataDir });
  await expect.poll(() => readdir(folder)).toEqual([named]);
  await again.close();
});

describe('in a file connector', () => {
  async function filed() {
    const registry = await ConnectorRegistry.open({ env: {} });
    onTestFinished(() => registry.close());
    const files = await registry.createFileConnector({
      tenantId: 'ops',
      name: 'results',
      provider: 'memory',
    });
    const { kept, files: local } = results();
    kept.use({ connectorId: files.connectorId, find: async () => files });
    let named: string | null = null;
    const store = async (lost = false) => {
      await kept.keep(lease, end, async ({ result, resultFile }) => {
        expect(result).toBeNull();
        named = resultFile;
        return !lost;
      });
      return named ?? '';
    };
    const paths = async () => (await files.listFiles('/', { recursive: true })).files.map(({ path }) => path);
    return { kept, files, local, store, paths };
  }

  it('name it and the file in their row, are read back, and go when the row goes', async () => {
    const { kept, files, local, store, paths } = await filed();
    const resultFile = await store();
    expect(resultFile).toMatch(new RegExp(`^${files.connectorId}:r\\.2\\.\\d+\\.json$`));
    const record = { ...invocation(files.record, { requestId: 'r', resultFile }), ...where };
    expect((await kept.whole(record)).result).toBe(LARGE);
    await expect(local()).rejects.toThrow(/ENOENT/);
    await kept.remove(where, { resultFile });
    expect(await paths()).toEqual([]);
    await expect(kept.whole(record)).rejects.toMatchObject({ code: 'internal' });
  });

  it('go at once where their row is not written', async () => {
    const { store, paths } = await filed();
    await store(true);
    expect(await paths()).toEqual([]);
  });

  it('are swept where no row names them, once nobody can be about to', async () => {
    const { kept, files, store, paths } = await filed();
    const resultFile = await store();
    await files.writeFile('results/registry-1/t/c/r.1.7.json', 'of a worker that was killed');
    await files.writeFile('results/registry-1/t/gone/r.1.7.json', 'of a connector that is gone');
    await files.writeFile('results/registry-1/t/c/notes.txt', 'of somebody else');
    const all = await paths();
    const nameOf = async (connectorId: string) => (connectorId === 'c' ? resultFile : null);
    const hour = 3_600_000;
    await kept.sweepConnector(new Date(Date.now() + hour / 2), nameOf);
    expect(await paths()).toEqual(all);
    await kept.sweepConnector(new Date(Date.now() + hour + 1_000), nameOf);
    expect(await paths()).toEqual([
      'results/registry-1/t/c/notes.txt',
      `results/registry-1/t/c/${resultFile.split(':')[1]}`,
    ]);
  });

  it('are not swept where their row names the connector that the same files were reached by before', async () => {
    const { kept, files, store, paths } = await filed();
    const resultFile = await store();
    const all = await paths();
    kept.use({ connectorId: 'its-successor', find: async () => files });
    await kept.sweepConnector(new Date(Date.now() + 4_000_000), async () => resultFile);
    expect(await paths()).toEqual(all);
    // A later attempt that another row names is not what this row names.
    const other = resultFile.replace(':r.2.', ':r.3.');
    await kept.sweepConnector(new Date(Date.now() + 4_000_000), async () => other);
    expect(await paths()).toEqual([]);
  });

  it('of another registry in the same files are left alone', async () => {
    const { kept, files, paths } = await filed();
    const others = ['results/registry-2/t/c/r.1.7.json', 'results/t/c/r.1.7.json'];
    for (const path of others) await files.writeFile(path, 'of another registry');
    await kept.sweepConnector(new Date(Date.now() + 4_000_000), async () => null);
    await kept.forget({ tenantId: 't' });
    expect(await paths()).toEqual(others);
  });

  it('of one tenant alone go with it', async () => {
    const { kept, files, store, paths } = await filed();
    await files.writeFile('results/registry-1/other/c/r.1.7.json', 'of another');
    await store();
    await kept.forget({ tenantId: 't' });
    expect(await paths()).toEqual(['results/registry-1/other/c/r.1.7.json']);
  });
});
