import type { ConsistencyLevelEnum, MilvusClient } from '@zilliz/milvus2-sdk-node';
import {
  invalidField,
  nearer,
  type ClientMatch,
  type ClientQuery,
  type DeleteSelector,
  type DistanceMetric,
  type Filter,
  type ListPage,
  type Note,
  type StoredVector,
  type UpsertError,
  type VectorClient,
  type VectorPage,
  type VectorRecord,
} from '../../../driver.ts';
import { isLoaded, METRIC_TYPES, serverVersion, type Shape } from './collection.ts';
import { CALL_TIMEOUT_MS, type Connection } from './connection.ts';
import { checkStatus, nonsense } from './errors.ts';
import { EVERYTHING, expressionOf, type Expression } from './filter.ts';
import { contentOf, idOf, rowsOf, rowsPerAnswer, valuesOf } from './records.ts';

/** https://milvus.io/docs/limitations.md (read 2026-11-25): topK, and rows of a query. */
export const MAX_TOP_K = 16_384;
const IDS_AT_ONCE = 1_000;
const CURSOR = /^m1\.([\w-]{1,2800})$/;

/**
 * The level of every read: the SDK's type is the enum, whose Strong is 0, which its search takes for "unset" and
 * replaces by the collection's own level. The contract takes the name as well.
 */
const STRONG = 'Strong' as unknown as ConsistencyLevelEnum;

type Found = Readonly<Record<string, unknown>>;
type Wanted = { readonly values: boolean; readonly metadata: boolean };

/** The records of one collection. */
export function milvusVectors(connection: Connection, shape: Shape): VectorClient {
  const { name, dimension, metric } = shape;
  const collection = { collection_name: name } as const;

  const count = async (sdk: MilvusClient, where: Expression | undefined): Promise<number> => {
    const { status, data } = await sdk.query({
      ...collection,
      filter: where?.filter ?? '',
      exprValues: where?.exprValues ?? {},
      output_fields: ['count(*)'],
      consistency_level: STRONG,
    });
    checkStatus(status);
    const rows = Number((data[0] as Found | undefined)?.['count(*)']);
    if (!Number.isSafeInteger(rows)) throw nonsense(data);
    return rows;
  };

  const rows = async (
    sdk: MilvusClient,
    where: Expression,
    { limit, ...wanted }: Wanted & { readonly limit: number },
  ): Promise<readonly Found[]> => {
    const { status, data } = await sdk.query({
      ...collection,
      ...where,
      output_fields: outputOf(wanted),
      limit,
      // Only an iterator's answers are promised to be in the order of ids.
      params: { iterator: 'True', reduce_stop_for_best: 'False' },
      consistency_level: STRONG,
    });
    checkStatus(status);
    return data as readonly Found[];
  };

  const byId = async (
    sdk: MilvusClient,
    ids: readonly string[],
    wanted: Wanted,
  ): Promise<Map<string, Found>> => {
    const found = new Map<string, Found>();
    for (const part of inParts(ids, rowsPerAnswer(dimension, wanted)))
      for (const row of await rows(sdk, isOneOf(part), { limit: part.length, ...wanted }))
        found.set(idOf(row), row);
    return found;
  };

  const nearest = async (
    sdk: MilvusClient,
    vector: readonly number[],
    { limit, where, ...wanted }: Wanted & { readonly limit: number; readonly where: Expression | undefined },
  ) => {
    const { status, results } = await sdk.search({
      ...collection,
      data: [...vector],
      anns_field: 'vector',
      metric_type: METRIC_TYPES[metric],
      limit,
      ...where,
      output_fields: outputOf(wanted),
      consistency_level: STRONG,
    });
    checkStatus(status);
    return results.map((row: Found) => {
      const { score } = row;
      if (typeof score !== 'number') throw nonsense(new Error('a match without a score'));
      return { row, id: idOf(row), rawScore: rawScoreOf(metric, score) };
    });
  };

  /** The first `topK` by score and id: asks on while the last match is as near as the one at the cut. */
  const ranked = async (
    sdk: MilvusClient,
    vector: readonly number[],
    topK: number,
    where: Expression | undefined,
    wanted: Wanted,
  ) => {
    const most = rowsPerAnswer(dimension, wanted);
    for (let limit = Math.min(topK + 1, MAX_TOP_K); ; limit = Math.min(limit * 4, MAX_TOP_K)) {
      // What cannot be sure to fit is asked for its ids first, and then by id in parts.
      const now = limit <= most ? wanted : { values: false, metadata: false };
      const found = (await nearest(sdk, vector, { limit, where, ...now })).sort(nearer(metric));
      const isCut = found.length === limit && limit < MAX_TOP_K;
      if (isCut && found.at(-1)?.rawScore === found[topK - 1]?.rawScore) continue;
      const best = found.slice(0, topK);
      if (now === wanted || (!wanted.values && !wanted.metadata)) return best;
      const full = await byId(
        sdk,
        best.map(({ id }) => id),
        wanted,
      );
      return best.flatMap((match) => {
        const row = full.get(match.id);
        return row ? [{ ...match, row }] : [];
      });
    }
  };

  const remove = async (sdk: MilvusClient, where: Expression): Promise<number> => {
    // Its own count is of the ids that were named: https://github.com/milvus-io/milvus/issues/51566 (by design).
    const existing = await count(sdk, where);
    if (existing === 0) return 0;
    const { status } = await sdk.deleteEntities({
      ...collection,
      ...where,
      consistency_level: 'Strong',
    });
    checkStatus(status);
    return existing;
  };

  return {
    upsert: (records: readonly VectorRecord[], signal: AbortSignal): Promise<readonly UpsertError[]> =>
      connection.during(signal, async (sdk) => {
        const { parts, refused } = rowsOf(records);
        for (const part of parts) {
          const answer = await sdk.upsert({
            ...collection,
            data: part.map((row) => ({ ...row, vector: [...row.vector], terms: [...row.terms] })),
            timeout: CALL_TIMEOUT_MS,
          });
          checkStatus(answer.status);
          if (Number(answer.upsert_cnt) !== part.length) throw nonsense(answer);
        }
        return refused;
      }),

    search: (
      vector: readonly number[] | Float32Array,
      { topK, filter, includeValues, includeMetadata }: ClientQuery,
      signal: AbortSignal,
    ): Promise<readonly ClientMatch[]> => {
      const where = filter && expressionOf(filter);
      const wanted = { values: includeValues, metadata: includeMetadata };
      return connection.during(signal, async (sdk) =>
        (await ranked(sdk, [...vector], topK, where, wanted)).map(({ id, rawScore, row }) => ({
          id,
          rawScore,
          ...(includeMetadata && contentOf(row)),
          ...(includeValues && { values: valuesOf(row, dimension) }),
        })),
      );
    },

    async delete(selector: DeleteSelector, signal: AbortSignal): Promise<number> {
      if ('ids' in selector) {
        const parts = inParts([...new Set(selector.ids)], IDS_AT_ONCE);
        return connection.during(signal, async (sdk) => {
          let removed = 0;
          for (const part of parts) removed += await remove(sdk, isOneOf(part));
          return removed;
        });
      }
      const where =
        'filter' in selector ? expressionOf(selector.filter) : { filter: EVERYTHING, exprValues: {} };
      return connection.during(signal, (sdk) => remove(sdk, where));
    },

    fetch: (ids: readonly string[], signal: AbortSignal): Promise<readonly StoredVector[]> =>
      connection.during(signal, async (sdk) => {
        const found = await byId(sdk, [...new Set(ids)], { values: true, metadata: true });
        return ids.flatMap((id) => {
          const row = found.get(id);
          return row ? [{ id, values: valuesOf(row, dimension), ...contentOf(row) }] : [];
        });
      }),

    async count(filter: Filter | undefined, signal: AbortSignal): Promise<number> {
      const where = filter && expressionOf(filter);
      return connection.during(signal, (sdk) => count(sdk, where));
    },

    async list({ limit, cursor, includeValues }: ListPage, signal: AbortSignal): Promise<VectorPage> {
      const start = cursor === undefined ? '' : idAt(cursor);
      const wanted = { values: includeValues, metadata: true };
      const most = rowsPerAnswer(dimension, wanted);
      return connection.during(signal, async (sdk) => {
        const found: Found[] = [];
        let last = start;
        while (found.length < limit) {
          const page = await rows(sdk, after(last), {
            limit: Math.min(limit - found.length, most),
            ...wanted,
          });
          if (page.length === 0) break;
          last = checkOrder(page, last);
          found.push(...page);
        }
        const more =
          found.length > 0 &&
          (await rows(sdk, after(last), { limit: 1, values: false, metadata: false })).length > 0;
        return {
          records: found.map((row) => ({
            id: idOf(row),
            ...(includeValues && { values: valuesOf(row, dimension) }),
            ...contentOf(row),
          })),
          ...(more && { nextCursor: `m1.${Buffer.from(last).toString('base64url')}` }),
        };
      });
    },

    check: (signal: AbortSignal): Promise<readonly Note[]> =>
      connection.during(signal, async (sdk) => {
        const version = await serverVersion(sdk);
        const loaded = await isLoaded(sdk, name);
        const { status: described, index_descriptions: indexes } = await sdk.describeIndex(collection);
        checkStatus(described);
        const type = indexes
          .find(({ field_name: field }) => field === 'vector')
          ?.params.find(({ key }) => key === 'index_type')?.value;
        return [
          { level: 'info', message: `Milvus ${version}, collection ${name}` },
          ...(type === 'FLAT'
            ? []
            : [
                {
                  level: 'info',
                  message: `searches of large collections are approximate (${String(type)})`,
                } as const,
              ]),
          ...(loaded
            ? []
            : [
                {
                  level: 'warn',
                  message: `the collection ${name} is not loaded; nothing can be searched`,
                } as const,
              ]),
        ];
      }),

    close: () => connection.close(),
  };
}

/** What the metric calls Milvus' score; rounding to float32 takes a square below 0 and a cosine beyond 1. */
function rawScoreOf(metric: DistanceMetric, score: number): number {
  if (metric === 'euclidean') return Math.sqrt(Math.max(0, score));
  return metric === 'cosine' ? Math.min(1, Math.max(-1, score)) : score;
}

function outputOf({ values, metadata }: Wanted): string[] {
  return ['id', ...(values ? ['vector'] : []), ...(metadata ? ['metadata', 'text'] : [])];
}

function isOneOf(ids: readonly string[]): Expression {
  return { filter: 'id IN {ids}', exprValues: { ids: [...ids] } };
}

function after(id: string): Expression {
  return { filter: 'id > {after}', exprValues: { after: id } };
}

function inParts(ids: readonly string[], size: number): readonly (readonly string[])[] {
  return Array.from({ length: Math.ceil(ids.length / size) }, (_, i) => ids.slice(i * size, (i + 1) * size));
}

/** The last id of a page; one that is out of order would make the next page skip records without a word. */
function checkOrder(page: readonly Found[], before: string): string {
  return page.reduce<string>((last, row) => {
    const id = idOf(row);
    if (Buffer.compare(Buffer.from(last), Buffer.from(id)) >= 0)
      throw nonsense(new Error('ids that are not in the order of their bytes'));
    return id;
  }, before);
}

/** The id in a cursor of ours. */
function idAt(cursor: string): string {
  const encoded = CURSOR.exec(cursor)?.[1];
  const bytes = Buffer.from(encoded ?? '', 'base64url');
  const id = bytes.toString();
  const isOurs = bytes.length > 0 && bytes.toString('base64url') === encoded && Buffer.from(id).equals(bytes);
  if (!isOurs || id.length > 512) throw invalidField('cursor', 'is what the page before answered');
  return id;
}
