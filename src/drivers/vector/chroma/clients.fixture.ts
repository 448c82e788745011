import { ChromaClient, type Collection } from 'chromadb';
import type { DistanceMetric, VectorClient, VectorOpenContext } from '../../../driver.ts';
import { vectorContext } from '../../../testing/vector-suite.ts';
import { startChroma } from './chroma.fixture.ts';
import driver from './index.ts';

const NO_EMBEDDING = { name: 'none', generate: () => Promise.reject(new Error('records bring vectors')) };

/** A server with clients of the driver, and with the official one beside them, which other tools are played by. */
export type ChromaClients = {
  readonly url: string;
  readonly other: ChromaClient;
  /** A collection of its own unless told, of 3 dimensions and by cosine. */
  open(options?: Readonly<Record<string, unknown>>, context?: VectorOpenContext): Promise<VectorClient>;
  /** Makes a collection that is not the driver's. */
  foreign(name: string, space: 'cosine' | 'l2' | 'ip'): Promise<Collection>;
  /** A collection as another tool sees it. */
  look(name: string): Promise<Collection>;
  close(): Promise<void>;
};

export async function startClients(): Promise<ChromaClients> {
  const server = await startChroma();
  const { hostname, port } = new URL(server.url);
  const other = new ChromaClient({ host: hostname, port: Number(port) });
  const opened: VectorClient[] = [];
  return {
    url: server.url,
    other,
    async open(options = {}, context = contextOf(3, 'cosine')) {
      const parsed = driver.options.parse({ endpoint: server.url, ...options });
      const client = await driver.open(parsed, context);
      opened.push(client);
      return client;
    },
    foreign: (name, space) =>
      other.createCollection({
        name,
        embeddingFunction: NO_EMBEDDING,
        configuration: { hnsw: { space } },
      }),
    look: (name) => other.getCollection({ name, embeddingFunction: NO_EMBEDDING }),
    async close() {
      for (const client of opened) await client.close();
      await server.close();
    },
  };
}

/** What a host gives to `open()`; the driver keeps no files. */
export function contextOf(dimension: number, metric: DistanceMetric): VectorOpenContext {
  return vectorContext('/nowhere', dimension, metric);
}
