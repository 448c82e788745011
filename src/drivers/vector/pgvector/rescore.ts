import type { ClientMatch, DistanceMetric } from '../../../driver.ts';
import { vectorOf } from './binary.ts';
import type { Session } from './pool.ts';
import { COLUMN } from './statements.ts';

/**
 * pgvector sums in float32. A distance or a cosine keeps its digits so, but a product of long vectors that nearly
 * cancels does not, and neither does anything that does not fit into float32. Embeddings are seldom longer than 1, and
 * up to this product of lengths the error stays below 1e-5.
 */
const MAX_PRODUCT = 4;

type Search = {
  readonly session: Session;
  readonly table: string;
  readonly metric: DistanceMetric;
  readonly vector: readonly number[] | Float32Array;
};

/** The matches, with the scores that float32 may have spoiled computed anew from the stored vectors in float64. */
export async function rescored(
  { session, table, metric, vector }: Search,
  matches: readonly ClientMatch[],
  rows: readonly (readonly (string | null)[])[],
): Promise<readonly ClientMatch[]> {
  const length = metric === 'dot' ? Math.sqrt(product(vector, vector)) : 0;
  const norms = new Map(
    metric === 'dot' ? rows.map((row) => [row[COLUMN.id], Number(row[COLUMN.norm])] as const) : [],
  );
  const isDoubtful = ({ id, rawScore }: ClientMatch): boolean =>
    !Number.isFinite(rawScore) ||
    (metric === 'dot' && length * (norms.get(id) ?? 0) > MAX_PRODUCT * Math.max(1, Math.abs(rawScore)));
  const doubtful = matches.filter(isDoubtful).map(({ id }) => id);
  if (doubtful.length === 0) return matches;
  const stored = await session.run({
    name: 'values',
    text: `SELECT id, vector_send(embedding) FROM ${table} WHERE id = ANY ($1::text[])`,
    values: [doubtful],
  });
  const byId = new Map(stored.rows.map(([id, values]) => [id, vectorOf(values ?? '')]));
  return matches.map((match) => {
    const values = byId.get(match.id);
    return values ? { ...match, rawScore: rawScore(metric, vector, values) } : match;
  });
}

function rawScore(metric: DistanceMetric, a: readonly number[] | Float32Array, b: readonly number[]): number {
  if (metric === 'euclidean') {
    let sum = 0;
    for (let i = 0; i < a.length; i++) sum += ((a[i] ?? 0) - (b[i] ?? 0)) ** 2;
    return Math.sqrt(sum);
  }
  const dot = product(a, b);
  return metric === 'dot' ? dot : dot / Math.sqrt(product(a, a) * product(b, b));
}

function product(a: readonly number[] | Float32Array, b: readonly number[] | Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}
