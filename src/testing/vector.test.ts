import { z } from 'zod';
import {
  cancelled,
  ConnectorError,
  defineVectorDriver,
  inTerms,
  invalidField,
  nearer,
  numbersOf,
  parseFilter,
  termsOf,
  type DeleteSelector,
  type Filter,
  type TermFilter,
  type VectorClient,
  type VectorOpenContext,
  type VectorRecord,
} from '../driver.ts';
import { testVectorDriver } from './vector.ts';

// The suite itself: a driver in memory that declares as little as it can, so that every refusal is asked for as well.
const driver = defineVectorDriver({
  kind: 'vector',
  id: 'memory',
  title: 'Memory',
  options: z.strictObject({}),
  capabilities: {
    metrics: ['euclidean'],
    filter: ['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'and', 'or'],
    deleteByFilter: false,
    countByFilter: false,
    orderedStrings: false,
    visibleAfterMs: 0,
    limits: { dimension: 100, upsertBatch: 100, topK: 1_000 },
  },
  open: async (_options, context) => memoryClient(context),
});

type Collection = Pick<VectorOpenContext, 'dimension' | 'metric'> & {
  readonly records: Map<string, VectorRecord>;
};
const collections = new Map<string, Collection>();

testVectorDriver({
  driver,
  open: (context) => driver.open({}, context),
  removeBeneath: async ({ connectorId }) => void collections.delete(connectorId),
});

function memoryClient({ connectorId, dimension, metric }: VectorOpenContext): VectorClient {
  const own = collections.get(connectorId) ?? { dimension, metric, records: new Map<string, VectorRecord>() };
  if (own.dimension !== dimension || own.metric !== metric)
    throw new ConnectorError('invalid_state', 'the collection has another dimension or metric');
  collections.set(connectorId, own);

  const records = (signal: AbortSignal): Map<string, VectorRecord> => {
    if (signal.aborted) throw cancelled(signal);
    const found = collections.get(connectorId);
    if (!found) throw new ConnectorError('not_found', 'the collection is gone');
    return found.records;
  };
  const stored = ({ values, ...rest }: VectorRecord) => ({ ...rest, values: [...values] });

  return {
    async upsert(batch, signal) {
      for (const record of batch) records(signal).set(record.id, asStored(record));
      return [];
    },
    async search(vector, { topK, filter, includeValues, includeMetadata }, signal) {
      const distance = (values: VectorRecord['values']) =>
        Math.hypot(...Array.from(vector, (x, i) => x - (values[i] ?? 0)));
      return [...records(signal).values()]
        .filter((record) => !filter || holds(filter, record))
        .map((record) => ({ ...stored(record), rawScore: distance(record.values) }))
        .sort(nearer('euclidean'))
        .slice(0, topK)
        .map(({ values, metadata, ...match }) => ({
          ...match,
          ...(includeValues && { values }),
          ...(includeMetadata && metadata && { metadata }),
        }));
    },
    async delete(selector: DeleteSelector, signal) {
      const all = records(signal);
      const ids = 'ids' in selector ? selector.ids : [...all.keys()];
      return ids.filter((id) => all.delete(id)).length;
    },
    async fetch(ids, signal) {
      const all = records(signal);
      return ids.flatMap((id) => all.get(id) ?? []).map(stored);
    },
    async count(_filter, signal) {
      return records(signal).size;
    },
    async list({ limit, cursor, includeValues }, signal) {
      const all = records(signal);
      if (cursor !== undefined && !cursor.startsWith('after '))
        throw invalidField('cursor', 'is one of ours');
      const after = cursor?.slice('after '.length);
      const rest = [...all.keys()].sort().filter((id) => after === undefined || id > after);
      const page = rest.slice(0, limit).flatMap((id) => all.get(id) ?? []);
      return {
        records: page
          .map(stored)
          .map(({ values, ...record }) => ({ ...record, ...(includeValues && { values }) })),
        ...(rest.length > limit && { nextCursor: `after ${page.at(-1)?.id}` }),
      };
    },
    async check(signal) {
      records(signal);
      return [{ level: 'info', message: 'everything is in memory' }];
    },
    async close() {},
  };
}

/** The metadata as a backend would store it: as text. */
function asStored(record: VectorRecord): VectorRecord {
  return JSON.parse(JSON.stringify({ ...record, values: [...record.values] })) as VectorRecord;
}

function holds(filter: Filter, { metadata }: VectorRecord): boolean {
  const terms = new Set(termsOf(metadata));
  const numbers = new Map(numbersOf(metadata).map(({ field, value }) => [field, value]));
  const evaluate = (node: TermFilter): boolean => {
    if ('nodes' in node) return node.op === 'and' ? node.nodes.every(evaluate) : node.nodes.some(evaluate);
    if ('node' in node) return !evaluate(node.node);
    if ('terms' in node) return node.terms.some((term) => terms.has(term));
    const order = (numbers.get(node.field) ?? NaN) - node.value;
    if (node.op === 'gt') return order > 0;
    if (node.op === 'gte') return order >= 0;
    return node.op === 'lt' ? order < 0 : order <= 0;
  };
  return evaluate(inTerms(parseFilter(filter)));
}
