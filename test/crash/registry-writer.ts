/** Creates connectors, upserts vectors and writes files without end, and prints each once it is acknowledged. */
import { createHash } from 'node:crypto';
import { ConnectorRegistry, isConnectorError } from '../../src/index.ts';
import type { VectorConnector, FileConnector } from '../../src/index.ts';

const [dataDir, cycle = '0'] = process.argv.slice(2);
const registry = await ConnectorRegistry.open({ dataDir });
const tenantId = 'crash';
const vectors = ((await registry.getByName(tenantId, 'vectors').catch(absent)) ??
  (await registry.createVectorConnector({
    tenantId,
    name: 'vectors',
    vectorDimension: 8,
  }))) as VectorConnector;
const files = ((await registry.getByName(tenantId, 'files').catch(absent)) ??
  (await registry.createFileConnector({ tenantId, name: 'files' }))) as FileConnector;

// Opened before the first acknowledgement, so that a kill never falls into the opening alone.
await Promise.all([vectors.connect(), files.connect()]);
await Promise.all([creates(), upserts(), writes()]);

async function creates(): Promise<never> {
  for (let n = 0; ; n++) {
    const { connectorId, name } = await registry.createFileConnector({
      tenantId,
      name: `made-${cycle}-${n}`,
      metadata: { cycle, n },
    });
    process.stdout.write(`create ${connectorId} ${name}\n`);
  }
}

async function upserts(): Promise<never> {
  for (let n = 0; ; n++) {
    const id = `v-${cycle}-${n % 50}`;
    await vectors.upsertVectors([{ id, values: [1, n, 0, 0, 0, 0, 0, 1], metadata: { n } }]);
    process.stdout.write(`upsert ${id} ${n}\n`);
  }
}

async function writes(): Promise<never> {
  for (let n = 0; ; n++) {
    const path = `c${cycle}/f-${n % 20}.bin`;
    // Up to 256 KB, so that many kills fall into the middle of a write.
    const content = Buffer.alloc(1 + ((n * 7919) % 262_144), `${cycle}-${n}.`);
    await files.writeFile(path, content);
    const hash = createHash('sha256').update(content).digest('hex');
    process.stdout.write(`write ${path} ${n} ${content.length} ${hash}\n`);
  }
}

function absent(error: unknown): undefined {
  if (isConnectorError(error) && error.code === 'not_found') return undefined;
  throw error;
}
