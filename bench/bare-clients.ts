/**
 * The official clients as somebody calls them who has no registry: what connectors are measured against.
 *
 *     node bench/bare-clients.ts pgvector|chroma URL NAME FILE
 *
 * imports a file of NDJSON, batch by batch, as a loop written by hand does.
 */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { ChromaClient } from 'chromadb';
import pg from 'pg';
import type { VectorRecord } from '../src/connectors/vector/driver.ts';
import { DIMENSION } from './vector-data.ts';

const BATCH = 1_000;

/** One collection. */
export type BareClient = {
  upsert(records: readonly VectorRecord[]): Promise<void>;
  search(vector: readonly number[] | Float32Array, topK: number): Promise<unknown>;
  close(): Promise<void>;
};

/** A table with an HNSW index by cosine, written by one statement a batch. */
export async function barePostgres(url: string, table: string, dimension: number): Promise<BareClient> {
  const client = new pg.Client({ connectionString: url, ssl: false });
  await client.connect();
  await client.query('create extension if not exists vector');
  await client.query(`drop table if exists ${table}`);
  await client.query(
    `create table ${table} (id text primary key, embedding vector(${dimension}), metadata jsonb, text text)`,
  );
  await client.query(`create index on ${table} using hnsw (embedding vector_cosine_ops)`);
  await client.query('set hnsw.iterative_scan = strict_order');
  return {
    async upsert(records) {
      await client.query({
        name: 'upsert',
        text: `insert into ${table} select * from unnest($1::text[], $2::vector[], $3::jsonb[], $4::text[])
          on conflict (id) do update set embedding = excluded.embedding, metadata = excluded.metadata, text = excluded.text`,
        values: [
          records.map(({ id }) => id),
          records.map(({ values }) => `[${values.join(',')}]`),
          records.map(({ metadata }) => JSON.stringify(metadata ?? null)),
          records.map(({ text }) => text ?? null),
        ],
      });
    },
    search: (vector, topK) =>
      client.query({
        name: 'search',
        text: `select id, embedding <=> $1 as distance, metadata, text from ${table} order by embedding <=> $1 limit $2`,
        values: [`[${vector.join(',')}]`, topK],
      }),
    async close() {
      await client.query(`drop table ${table}`);
      await client.end();
    },
  };
}

/** A collection in the cosine space. */
export async function bareChroma(url: string, name: string): Promise<BareClient> {
  const { hostname, port } = new URL(url);
  const client = new ChromaClient({ host: hostname, port: Number(port), ssl: false });
  const collection = await client.getOrCreateCollection({
    name,
    configuration: { hnsw: { space: 'cosine' } },
    // Its default would be asked for and is not installed; every record brings its vector.
    embeddingFunction: { name: 'none', generate: () => Promise.reject(new Error('not used')) },
  });
  return {
    async upsert(records) {
      await collection.upsert({
        ids: records.map(({ id }) => id),
        embeddings: records.map(({ values }) => Array.from(values)),
        // Chroma's metadata are flat, and those of the benchmark are.
        metadatas: records.map(({ metadata }) => (metadata ?? {}) as Record<string, string | number>),
      });
    },
    search: (vector, topK) =>
      collection.query({
        queryEmbeddings: [Array.from(vector)],
        nResults: topK,
        include: ['distances', 'metadatas', 'documents'],
      }),
    close: () => client.deleteCollection({ name }),
  };
}

if (import.meta.main) {
  const [provider = '', url = '', name = '', file = ''] = process.argv.slice(2);
  const client =
    provider === 'chroma' ? await bareChroma(url, name) : await barePostgres(url, name, DIMENSION);
  let batch: VectorRecord[] = [];
  for await (const line of createInterface({ input: createReadStream(file) })) {
    batch.push(JSON.parse(line) as VectorRecord);
    if (batch.length === BATCH) await client.upsert(batch.splice(0));
  }
  if (batch.length > 0) await client.upsert(batch);
  batch = [];
  await client.close();
}
