import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { asConnectorError, ConnectorError, type Log } from '../../../driver.ts';
import { Arena, BLOCK_BYTES } from './arena.ts';
import { Collection, type CollectionHost } from './collection.ts';
import type { NewRow } from './database.ts';
import { ExitGate } from './exit-gate.ts';
import type {
  Answers,
  FromWorker,
  LogLevel,
  Operation,
  PackedMatches,
  PackedRecords,
  Requests,
  ToWorker,
} from './protocol.ts';

/** Memory that all collections together keep of what is also on disk; beyond it the longest unused give theirs back. */
const KEPT_BYTES = 48 * 2 ** 20;
/** Collections, the last used, that keep what SQLite has cached of their files. */
const WARM_COLLECTIONS = 16;

/** The thread that owns every open collection of the process: databases, vectors in memory, and indexes. */
class Engine {
  readonly #port: MessagePort;
  readonly #arena = new Arena();
  readonly #gate: ExitGate;
  /** By number, the longest unused first. */
  readonly #collections = new Map<number, Collection>();
  readonly #warm = new Set<Collection>();

  constructor(port: MessagePort, gate: ExitGate) {
    this.#port = port;
    this.#gate = gate;
    port.on('message', (message: ToWorker) => void this.#handle(message));
  }

  async #handle({ call, collection, operation, request }: ToWorker): Promise<void> {
    try {
      const answer = await this.#run(collection, operation, request);
      this.#send({ call, answer }, transferable(answer));
    } catch (error) {
      const { code, message, details, issues } = asConnectorError(error);
      this.#send({ call, error: { code, message, details, issues } });
    }
  }

  #run(number: number, operation: Operation, request: Requests[Operation]): Promise<Answers[Operation]> {
    const run = OPERATIONS[operation] as Run<Operation>;
    return run(request, {
      open: async (options) => {
        this.#collections.set(number, await Collection.open(options, this.#hostOf(number)));
      },
      get: () => this.#used(number),
      close: async () => {
        const collection = this.#collections.get(number);
        this.#collections.delete(number);
        if (collection) this.#warm.delete(collection);
        await collection?.close();
      },
    });
  }

  #used(number: number): Collection {
    const collection = this.#collections.get(number);
    if (collection === undefined) throw new ConnectorError('invalid_state', 'the collection is closed');
    this.#collections.delete(number);
    this.#collections.set(number, collection);
    this.#keepWarm(collection);
    return collection;
  }

  #keepWarm(collection: Collection): void {
    this.#warm.delete(collection);
    this.#warm.add(collection);
    const [longestUnused] = this.#warm;
    if (this.#warm.size <= WARM_COLLECTIONS || longestUnused === undefined) return;
    this.#warm.delete(longestUnused);
    longestUnused.cool();
  }

  #hostOf(number: number): CollectionHost {
    const log =
      (level: LogLevel) =>
      (message: string, fields: Readonly<Record<string, unknown>> = {}) =>
        this.#send({ collection: number, level, message, fields });
    return {
      arena: this.#arena,
      gate: this.#gate,
      log: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') } satisfies Log,
      progress: (progress) => this.#send({ collection: number, progress }),
      grew: (collection) => this.#makeRoom(collection),
    };
  }

  #makeRoom(growing: Collection): void {
    if (this.#arena.used * BLOCK_BYTES + growing.bytes <= KEPT_BYTES / 2) return;
    let kept = 0;
    for (const collection of this.#collections.values()) kept += collection.bytes;
    for (const collection of this.#collections.values()) {
      if (kept <= KEPT_BYTES) return;
      if (collection === growing) continue;
      kept -= collection.bytes;
      collection.evict();
    }
  }

  #send(message: FromWorker, transfer: readonly ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transfer);
  }
}

type Access = {
  open(options: Requests['open']): Promise<void>;
  get(): Collection;
  close(): Promise<void>;
};
type Run<O extends Operation> = (request: Requests[O], access: Access) => Promise<Answers[O]>;

const OPERATIONS: { readonly [O in Operation]: Run<O> } = {
  async open(options, access) {
    await access.open(options);
    return null;
  },
  async upsert(records, access) {
    access.get().upsert(unpacked(records));
    return null;
  },
  async search({ query, topK, filter, includeValues, includeMetadata }, access) {
    const found = access.get().search(query, topK, filter);
    const matches: PackedMatches = {
      ids: found.map(({ row }) => row.id),
      rawScores: Float64Array.from(found, ({ rawScore }) => rawScore),
      metadata: includeMetadata ? found.map(({ row }) => row.metadata) : [],
      texts: found.map(({ row }) => row.text),
      values: includeValues ? concatenated(found.map(({ row }) => row.values)) : null,
    };
    return matches;
  },
  async delete(selector, access) {
    return access.get().delete(selector);
  },
  async fetch({ ids }, access) {
    const rows = access.get().fetch(ids);
    return {
      ids: rows.map(({ id }) => id),
      values: concatenated(rows.map(({ values }) => values)),
      metadata: rows.map(({ metadata }) => metadata),
      texts: rows.map(({ text }) => text),
    };
  },
  async count({ filter }, access) {
    return access.get().count(filter);
  },
  async list(request, access) {
    const { rows, next } = access.get().list(request);
    return {
      ids: rows.map(({ id }) => id),
      values: request.withValues ? concatenated(rows.map(({ values }) => values)) : null,
      metadata: rows.map(({ metadata }) => metadata),
      texts: rows.map(({ text }) => text),
      next,
    };
  },
  async check(_, access) {
    return access.get().check();
  },
  async close(_, access) {
    await access.close();
    return null;
  },
};

function unpacked({ ids, values, metadata, texts }: PackedRecords): readonly NewRow[] {
  const rowBytes = values.byteLength / ids.length;
  return ids.map((id, i) => ({
    id,
    values: new Uint8Array(values.buffer, values.byteOffset + i * rowBytes, rowBytes),
    metadata: metadata[i] ?? null,
    text: texts[i] ?? null,
  }));
}

function concatenated(parts: readonly Uint8Array[]): Float32Array<ArrayBuffer> {
  const size = parts.reduce((sum, part) => sum + part.byteLength, 0);
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  return new Float32Array(bytes.buffer);
}

function transferable(answer: Answers[Operation]): readonly ArrayBuffer[] {
  if (answer === null || typeof answer !== 'object' || !('values' in answer)) return [];
  return answer.values instanceof Float32Array ? [answer.values.buffer] : [];
}

// The host's memory, see worker-host.ts.
if (parentPort) new Engine(parentPort, new ExitGate(workerData as SharedArrayBuffer));
