import { describe, expect, it } from 'vitest';
import type { VectorConnector } from '../connectors/vector/connector.ts';
import type { DistanceMetric, Filter, FilterOperator } from '../connectors/vector/driver.ts';
import { NEEDS } from './vector-corpus.ts';
import { idleVectorConnector, type VectorProof } from './vector-suite.ts';

const METRICS: readonly DistanceMetric[] = ['cosine', 'euclidean', 'dot'];
const QUERY = [1, 1, 1];

/** What a driver does not declare: a connector whose client fails the test refuses it. */
export function testRefusals({ capabilities, metric }: VectorProof): void {
  const idle = ({ metric: other = metric, dimension = 3 } = {}): VectorConnector =>
    idleVectorConnector({ dimension, metric: other, capabilities });
  const refused = (capability: string) => ({ code: 'unsupported', details: { capability } });

  describe('refuses before any I/O', () => {
    for (const [operator, filter] of Object.entries(NEEDS) as [FilterOperator, Filter][]) {
      if (capabilities.filter.includes(operator)) continue;
      it(`a filter with ${operator}`, async () => {
        await expect(idle().search(QUERY, { filter })).rejects.toMatchObject(refused('filter'));
      });
    }
    if (!capabilities.orderedStrings) {
      for (const operator of ['gt', 'gte', 'lt', 'lte'] as const) {
        if (!capabilities.filter.includes(operator)) continue;
        it(`${operator} with a string, at its path`, async () => {
          const filter = { a: { [`$${operator}`]: 'x' } };
          await expect(idle().search(QUERY, { filter })).rejects.toMatchObject({
            ...refused('orderedStrings'),
            issues: [{ path: `filter.a.$${operator}` }],
          });
        });
      }
    }
    for (const other of METRICS.filter((one) => !capabilities.metrics.includes(one))) {
      it(`the metric ${other}`, async () => {
        await expect(idle({ metric: other }).search(QUERY)).rejects.toMatchObject(refused('metrics'));
      });
    }
    if (!capabilities.deleteByFilter) {
      it('deleting by a filter', async () => {
        const attempt = idle().deleteVectors({ filter: { a: 1 } });
        await expect(attempt).rejects.toMatchObject(refused('deleteByFilter'));
      });
    }
    if (!capabilities.countByFilter) {
      it('counting by a filter', async () => {
        const attempt = idle().countVectors({ filter: { a: 1 } });
        await expect(attempt).rejects.toMatchObject(refused('countByFilter'));
      });
    }
    it('more matches than its limit, and vectors longer than its limit', async () => {
      const { topK, dimension } = capabilities.limits;
      const bad = { code: 'invalid_argument' };
      await expect(idle().search(QUERY, { topK: topK + 1 })).rejects.toMatchObject(bad);
      await expect(idle({ dimension: dimension + 1 }).countVectors()).rejects.toMatchObject(bad);
    });
  });
}
