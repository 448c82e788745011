import type { Filter, Metadata, VectorRecord } from '../src/connectors/vector/driver.ts';
import { matches, parseFilter } from '../src/connectors/vector/filter.ts';
import { rawScore } from '../src/drivers/vector/embedded/kernel.ts';

/** The length of every vector of the benchmark. */
export const DIMENSION = 384;

/** By query and filter, the cosine of the tenth nearest in float64. */
export function exactly(
  values: Float32Array,
  queries: readonly (readonly number[] | Float32Array)[],
  filters: readonly (Filter | undefined)[],
): readonly (readonly number[])[] {
  const count = values.length / DIMENSION;
  const allowed = filters.map((filter) => {
    const node = filter && parseFilter(filter);
    return Array.from({ length: count }, (_, i) => node === undefined || matches(node, metadataOf(i)));
  });
  return queries.map((query) => {
    const target = Float32Array.from(query);
    const scores = Float64Array.from({ length: count }, (_, i) =>
      rawScore('cosine', target, values, i * DIMENSION),
    );
    return allowed.map(
      (which) =>
        scores
          .filter((_, i) => which[i])
          .sort()
          .at(-10) ?? -1,
    );
  });
}

/** Vectors around 1,000 centres in one array, the same in each run: a linear congruential generator. */
export function clusteredValues(count: number, seed: number): Float32Array {
  let state = 12_345;
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  const centres = Float32Array.from({ length: 1_000 * DIMENSION }, next);
  state = seed;
  const values = new Float32Array(count * DIMENSION);
  for (let i = 0; i < count; i++) {
    const centre = Math.floor((next() + 0.5) * 1_000) * DIMENSION;
    for (let d = 0; d < DIMENSION; d++) values[i * DIMENSION + d] = (centres[centre + d] ?? 0) + next() * 0.8;
  }
  return values;
}

/** The record of one of the vectors; a filter on `group` or `plain` can match 1 % or 50 %. */
export function recordOf(values: Float32Array, i: number): VectorRecord {
  return {
    id: `record-${i}`,
    values: values.subarray(i * DIMENSION, (i + 1) * DIMENSION),
    metadata: metadataOf(i),
  };
}

function metadataOf(i: number): Metadata {
  return { group: i % 100, plain: i % 100, title: `Record ${i}` };
}

/** The same vectors as records. */
export function clustered(count: number, seed = 1): readonly VectorRecord[] {
  const values = clusteredValues(count, seed);
  return Array.from({ length: count }, (_, i) => recordOf(values, i));
}
