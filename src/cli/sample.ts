import { crc32 } from 'node:zlib';

const SIZE = 100;

/**
 * Up to 100 ids of all that were seen: those with the smallest checksums.
 *
 * So it is the same sample however often a copy was interrupted and however its pages fell. (A reservoir would need its
 * random numbers kept along with it.)
 */
export function sampled(before: readonly string[], ids: readonly string[]): readonly string[] {
  const ranked = [...new Set([...before, ...ids])].map((id) => ({ id, rank: crc32(id) }));
  ranked.sort((a, b) => a.rank - b.rank || (a.id < b.id ? -1 : 1));
  return ranked.slice(0, SIZE).map(({ id }) => id);
}
