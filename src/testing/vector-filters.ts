import { beforeAll, describe, expect, it } from 'vitest';
import type { VectorConnector } from '../connectors/vector/connector.ts';
import type { Filter, VectorCapabilities } from '../connectors/vector/driver.ts';
import { matches, operatorsOf, orderOfStrings, parseFilter } from '../connectors/vector/filter.ts';
import { isConnectorError } from '../errors/error.ts';
import { CORPUS, FILTERS } from './vector-corpus.ts';
import type { SuiteEngine } from './seen.ts';
import { SeenFilters } from './vector-seen.ts';
import { fill, idleVectorConnector, type VectorProof } from './vector-suite.ts';

const ORIGIN = [1, 0, 0];
const ALL = CORPUS.map(({ id }) => id);

/** Every filter of the golden corpus: answered as the reference evaluator does, or refused. */
export function testFilters({ capabilities, metric, collection }: VectorProof, engine?: SuiteEngine): void {
  const declared = FILTERS.filter((filter) => isDeclared(filter, capabilities));
  const undeclared = FILTERS.filter((filter) => !isDeclared(filter, capabilities));
  const seen = new SeenFilters();

  describe('filters', () => {
    let connector: VectorConnector;
    beforeAll(async () => {
      connector = await collection();
      await connector.upsertVectors(CORPUS);
    });

    for (const filter of declared) {
      it(`finds what the reference finds for ${shown(filter)}`, async () => {
        const answer = connector.search(ORIGIN, { filter, topK: CORPUS.length, includeMetadata: false });
        const found = await answer.catch(refusalOf);
        if ('code' in found) {
          expect(found.issues[0]?.path).toMatch(/^filter/);
          if (capabilities.countByFilter)
            await expect(connector.countVectors({ filter })).rejects.toMatchObject({ code: 'unsupported' });
          return seen.refused(found);
        }
        expect(found.map(({ id }) => id).sort()).toEqual(expected(filter));
        if (capabilities.countByFilter)
          expect(await connector.countVectors({ filter })).toBe(expected(filter).length);
        seen.exact(filter);
      });
    }

    it(`refuses the ${undeclared.length} filters of the corpus that need what is not declared`, async () => {
      const idle = idleVectorConnector({ dimension: 3, metric, capabilities });
      for (const filter of undeclared) {
        const found = await idle.search(ORIGIN, { filter }).catch(refusalOf);
        if ('code' in found) seen.refused(found);
        else expect.fail(`${shown(filter)} was not refused`);
      }
    });

    it('answers each declared operator exactly, if not in every filter', ({ skip }) => {
      skip(seen.count < FILTERS.length, 'not every filter of the corpus was asked and answered rightly');
      const never = capabilities.filter.filter((operator) => seen.of(operator).exact === 0);
      expect(never).toEqual([]);
    });

    if (engine) {
      it('does with each operator what seen.json says', async ({ skip }) => {
        skip(seen.count < FILTERS.length, 'not every filter of the corpus was asked and answered rightly');
        await expect(seen.report(engine)).toMatchFileSnapshot('./seen.json');
      });
    }

    it('leave the metadata as it was written, whatever its keys and values', async () => {
      const found = await connector.fetchVectors(ALL);
      expect(found.map(({ id }) => id)).toEqual(ALL);
      for (const [i, { metadata }] of CORPUS.entries())
        expect(canonical(found[i]?.metadata)).toBe(canonical(metadata));
    });

    if (capabilities.deleteByFilter && capabilities.filter.includes('eq')) {
      it('deletes what a filter matches and nothing else', async () => {
        const own = await collection();
        await fill(own, CORPUS);
        expect(await own.deleteVectors({ filter: { a: 1 } })).toEqual({ deleted: expected({ a: 1 }).length });
        const left = await own.search(ORIGIN, { topK: CORPUS.length });
        const gone = new Set(expected({ a: 1 }));
        expect(left.map(({ id }) => id).sort()).toEqual(ALL.filter((id) => !gone.has(id)));
        expect(await own.deleteVectors({ filter: { a: 1 } })).toEqual({ deleted: 0 });
      });
    }
  });
}

function isDeclared(filter: Filter, { filter: operators, orderedStrings }: VectorCapabilities): boolean {
  const node = parseFilter(filter);
  if (!orderedStrings && orderOfStrings(node)) return false;
  return [...operatorsOf(node).keys()].every((operator) => operators.includes(operator));
}

function expected(filter: Filter): readonly string[] {
  const node = parseFilter(filter);
  return CORPUS.filter(({ metadata }) => matches(node, metadata)).map(({ id }) => id);
}

function refusalOf(error: unknown) {
  if (isConnectorError(error) && error.code === 'unsupported') return error;
  throw error;
}

/** JSON as a title holds it: short, and with a -0 that can be told from 0. */
function shown(filter: Filter): string {
  const text = JSON.stringify(filter, (_key, value: unknown) => (Object.is(value, -0) ? '-0' : value));
  return text.length > 120 ? `${text.slice(0, 100)}… (${text.length} characters)` : text;
}

/** JSON with its keys in order, `__proto__` among them, which comparisons of objects pass over. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'absent';
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, child]) => `${JSON.stringify(key)}:${canonical(child)}`).join(',')}}`;
}
