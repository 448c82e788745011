import { ChromaClient } from 'chromadb';
import { afterAll, beforeAll } from 'vitest';
import { testVectorDriver } from '../../../testing/vector.ts';
import { startChroma, type ChromaServer } from './chroma.fixture.ts';
import driver from './index.ts';

let server: ChromaServer;
beforeAll(async () => {
  server = await startChroma();
});
afterAll(async () => server.close());

testVectorDriver({
  driver,
  open: (context) => driver.open(driver.options.parse({ endpoint: server.url }), context),
  async removeBeneath({ connectorId }) {
    const { hostname, port } = new URL(server.url);
    const chroma = new ChromaClient({ host: hostname, port: Number(port) });
    await chroma.deleteCollection({ name: `connector_${connectorId.replaceAll('-', '')}` });
  },
  engine: { mode: 'live', name: 'Chroma 1.0.0, the server of chromadb 3.0.3' },
});
