import type { ZVecCollection, ZVecCollectionSchema } from '@zvec/zvec';
import { createReadStream } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { ConnectorError, type DistanceMetric, loadPeer, valueAt } from '../../../driver.ts';
import type { Row } from './database.ts';
import type { ExitGate } from './exit-gate.ts';
import { columnsOf, encoded, type IndexedFields } from './native-filter.ts';

export const PEER_RANGE = '^0.7.0';
type Zvec = typeof import('@zvec/zvec');
export type LoadZvec = () => Promise<Zvec>;

let initialized = false;

/** The optional engine. @throws ConnectorError `unavailable` naming the command that installs it. */
export const loadZvec: LoadZvec = async () => {
  const zvec = await loadPeer('@zvec/zvec', PEER_RANGE, () => import('@zvec/zvec'));
  // Once per process; its own log would go to standard output.
  if (!initialized) zvec.ZVecInitialize({ logLevel: zvec.ZVecLogLevel.FATAL });
  initialized = true;
  return zvec;
};

/** The engine, and the gate that every call of it passes. */
export type Engine = { readonly zvec: Zvec; readonly gate: ExitGate };

export type HnswShape = {
  readonly dimension: number;
  readonly metric: DistanceMetric;
  readonly fields: IndexedFields;
};

/** Links of a node, and candidates while building and searching: see docs/decisions.md for the recall they give. */
const LINKS = 16;
const BUILD_CANDIDATES = 200;
const SEARCH_CANDIDATES = 200;
/** Threads for building; the rest of the machine is the callers'. */
const BUILD_THREADS = 1;

/** An approximate index in a folder of its own, by `@zvec/zvec`: slots by nearness. Everything in it can be derived anew. */
export class HnswIndex {
  readonly #engine: Engine;
  readonly #folder: string;
  readonly #fields: IndexedFields;
  #collection: ZVecCollection;

  private constructor(engine: Engine, folder: string, fields: IndexedFields, collection: ZVecCollection) {
    this.#engine = engine;
    this.#folder = folder;
    this.#fields = fields;
    this.#collection = collection;
  }

  static create(engine: Engine, folder: string, shape: HnswShape): HnswIndex {
    const collection = engine.gate.run(() =>
      engine.zvec.ZVecCreateAndOpen(folder, schemaOf(engine.zvec, shape)),
    );
    return new HnswIndex(engine, folder, shape.fields, collection);
  }

  static open(engine: Engine, folder: string, fields: IndexedFields): HnswIndex {
    const collection = engine.gate.run(() => engine.zvec.ZVecOpen(folder, { readOnly: true }));
    return new HnswIndex(engine, folder, fields, collection);
  }

  /** Up to `count` slots, nearest first; fewer where the index found no more. */
  search(query: Float32Array, count: number, filter: string | undefined): readonly number[] {
    const { zvec, gate } = this.#engine;
    const found = gate.run(() =>
      this.#collection.querySync({
        fieldName: 'vector',
        vector: query,
        topk: count,
        outputFields: [],
        params: { indexType: zvec.ZVecIndexType.HNSW, ef: Math.max(SEARCH_CANDIDATES, count + 50) },
        ...(filter !== undefined && { filter }),
      }),
    );
    return found.map(({ id }) => Number(id));
  }

  put(rows: readonly Row[], floats: (values: Uint8Array) => Float32Array): void {
    const columns = [...columnsOf(this.#fields)];
    const docs = rows.map(({ slot, values, metadata }) => {
      const parsed = metadata === null ? undefined : JSON.parse(metadata);
      const fields = columns.flatMap(([field, column]) => {
        const value = encoded(valueAt(parsed, field), this.#fields[field] ?? 'string');
        return value === undefined ? [] : [[column, value]];
      });
      return {
        id: String(slot),
        vectors: { vector: floats(values) },
        fields: Object.fromEntries(fields) as Record<string, string>,
      };
    });
    this.#checked(this.#engine.gate.run(() => this.#collection.upsertSync(docs)));
  }

  delete(slots: readonly number[]): void {
    if (slots.length === 0) return;
    const missing = 'ZVEC_NOT_FOUND';
    const statuses = this.#engine.gate.run(() => this.#collection.deleteSync(slots.map(String)));
    this.#checked(statuses.filter(({ code }) => code !== missing));
  }

  /** Builds the graph of what was put since; the thread goes on serving meanwhile. */
  build(): Promise<void> {
    return this.#engine.gate.runAsync(() => this.#collection.optimize({ concurrency: BUILD_THREADS }));
  }

  /** Closes for writing and opens for reading: from then on the files do not change. */
  reopen({ readOnly }: { readonly readOnly: boolean }): void {
    this.close();
    this.#collection = this.#engine.gate.run(() => this.#engine.zvec.ZVecOpen(this.#folder, { readOnly }));
  }

  close(): void {
    this.#engine.gate.run(() => this.#collection.closeSync());
  }

  #checked(statuses: readonly { readonly ok: boolean; readonly code: string }[]): void {
    const failed = statuses.find(({ ok }) => !ok);
    if (failed) throw new ConnectorError('internal', `the index refused a write with ${failed.code}`);
  }
}

function schemaOf(zvec: Zvec, { dimension, metric, fields }: HnswShape): ZVecCollectionSchema {
  const { HNSW, INVERT } = zvec.ZVecIndexType;
  const { COSINE, L2, IP } = zvec.ZVecMetricType;
  return new zvec.ZVecCollectionSchema({
    name: 'vectors',
    vectors: {
      name: 'vector',
      dataType: zvec.ZVecDataType.VECTOR_FP32,
      dimension,
      indexParams: {
        indexType: HNSW,
        metricType: { cosine: COSINE, euclidean: L2, dot: IP }[metric],
        m: LINKS,
        efConstruction: BUILD_CANDIDATES,
      },
    },
    fields: [...columnsOf(fields).values()].map((name) => ({
      name,
      dataType: zvec.ZVecDataType.STRING,
      nullable: true,
      indexParams: { indexType: INVERT },
    })),
  });
}

/**
 * One line per file of an index: path, size and checksum. What is read is made durable first.
 *
 * The engine maps its files into memory and trusts them, so a damaged one could end the process; they are compared with
 * this before they are opened.
 */
export async function indexManifest(folder: string, { sync }: { readonly sync: boolean }): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const lines: string[] = [];
  for (const entry of entries) {
    const file = path.join(entry.parentPath, entry.name);
    if (sync) await syncToDisk(file);
    if (!entry.isFile()) continue;
    let crc = 0;
    let size = 0;
    for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20 })) {
      crc = crc32(chunk, crc);
      size += chunk.length;
    }
    lines.push(`${path.relative(folder, file)} ${size} ${crc}`);
  }
  if (sync) await syncToDisk(folder);
  return lines.sort().join('\n');
}

async function syncToDisk(file: string): Promise<void> {
  const handle = await open(file, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
