import type { Filter, FilterOperator } from '../connectors/vector/driver.ts';
import { operatorsOf, orderOfStrings, parseFilter } from '../connectors/vector/filter.ts';
import type { ConnectorError } from '../errors/error.ts';
import type { SuiteEngine } from './seen.ts';
import { NEEDS } from './vector-corpus.ts';

/** In how many filters of the corpus, each counted once. */
type Tally = { exact: number; refused: number };
type Feature = FilterOperator | 'orderedStrings';

/** What a driver was seen to do with the golden corpus, kept as `seen.json` beside it. */
export type Seen = SuiteEngine & {
  readonly filters: Readonly<Tally>;
  readonly operators: Readonly<Record<Feature, Readonly<Tally>>>;
};

/** Counts what a driver does with filters, by operator. */
export class SeenFilters {
  readonly #filters: Tally = { exact: 0, refused: 0 };
  // A closed table: its keys are the operators.
  readonly #features = new Map(
    [...(Object.keys(NEEDS) as FilterOperator[]), 'orderedStrings' as const].map(
      (feature): [Feature, Tally] => [feature, { exact: 0, refused: 0 }],
    ),
  );

  /** The filter was answered as the reference evaluator answers it. */
  exact(filter: Filter): void {
    const node = parseFilter(filter);
    this.#filters.exact += 1;
    for (const operator of operatorsOf(node).keys()) this.of(operator).exact += 1;
    if (orderOfStrings(node)) this.of('orderedStrings').exact += 1;
  }

  /** The filter was refused as `unsupported`; an error that names operators is counted for these alone. */
  refused({ details }: ConnectorError): void {
    this.#filters.refused += 1;
    if (details['capability'] === 'orderedStrings') this.of('orderedStrings').refused += 1;
    else if (details['capability'] === 'filter' && Array.isArray(details['missing']))
      for (const operator of details['missing'] as readonly FilterOperator[]) this.of(operator).refused += 1;
  }

  of(feature: Feature): Tally {
    return this.#features.get(feature) ?? { exact: 0, refused: 0 };
  }

  /** Filters that were answered rightly or refused rightly. */
  get count(): number {
    return this.#filters.exact + this.#filters.refused;
  }

  /** The text of `seen.json`. */
  report({ mode, name }: SuiteEngine): string {
    const operators = Object.fromEntries(this.#features);
    return `${JSON.stringify({ mode, name, filters: this.#filters, operators }, null, 2)}\n`;
  }
}
