import type { AnyDriver } from '../../src/registry/catalog.ts';
import type { CasesSeen } from '../../src/testing/cases-seen.ts';
import type { Seen } from '../../src/testing/vector-seen.ts';
import { table } from './table.ts';

/** What the conformance suite saw of a driver: the `seen.json` beside it; absent where it kept none. */
export type SeenDriver = {
  readonly driver: AnyDriver;
  readonly seen: Seen | undefined;
  readonly seenCases: CasesSeen | undefined;
};

/** Which drivers of a kind a real backend answered, and which a double. */
export function seenCasesMatrix(drivers: readonly SeenDriver[]): string {
  const head = [
    'Seen',
    ...drivers.map(({ driver }) => `[${driver.id}](drivers/${driver.kind}-${driver.id}.md)`),
  ];
  const facts: readonly (readonly [string, (seen: CasesSeen) => string])[] = [
    ['Tested', ({ mode }) => mode],
    ['Against', ({ name }) => name],
    ['Cases of the suite', ({ passed }) => `${passed} passed`],
    ['Not asked for', ({ waived }) => `${Object.keys(waived).length || 'none'}`],
  ];
  const rows = facts.map(([name, of]) => [
    name,
    ...drivers.map(({ seenCases }) => (seenCases ? of(seenCases) : 'not seen')),
  ]);
  return `### What answered the suite

\`live\` was a real server, runtime or file system, \`wire\` a double that checks each request against the vendor's published
contract. The pages of the drivers name the cases that were not asked for.

${table(head, rows)}`;
}

/** The matrix operator × driver, and no more than was seen. */
export function seenMatrix(drivers: readonly SeenDriver[]): string {
  const features = [...new Set(drivers.flatMap(({ seen }) => Object.keys(seen?.operators ?? {})))];
  const facts: readonly (readonly [string, (seen: Seen) => string])[] = [
    ['Tested', ({ mode }) => mode],
    ['Against', ({ name }) => name],
    ['All filters of the corpus', ({ filters }) => counted(filters)],
    ...features.map(
      (feature) => [labelOf(feature), ({ operators }: Seen) => resultOf(operators, feature)] as const,
    ),
  ];
  const head = ['Operator', ...drivers.map(({ driver }) => `[${driver.id}](drivers/vector-${driver.id}.md)`)];
  const rows = facts.map(([name, of]) => [
    name,
    ...drivers.map(({ seen }) => (seen ? of(seen) : 'not seen')),
  ]);
  return `### Filters, as they were seen

Each filter of one corpus was put to each driver, over records of every kind of value. *exact* counts the filters with
the operator that found what the reference evaluator finds; *refused* those that were answered with \`unsupported\`
because of it. \`live\` was a real engine, \`wire\` a double that checks each request against the vendor's published
contract: what the engine itself makes of that request was not seen.

${table(head, rows)}`;
}

/** How a driver was tested, for its own page. */
export function seenParagraph({ driver, seen, seenCases }: SeenDriver): string {
  if (driver.kind !== 'vector' && seenCases) return casesParagraph(seenCases);
  if (!seen) return 'What the conformance suite saw was not kept.\n';
  const how =
    seen.mode === 'live'
      ? `By the conformance suite, live, against ${seen.name}.`
      : `By the conformance suite, by wire: against a double that checks each request against ${seen.name}. No engine was reached.`;
  return `${how} Of the golden corpus of filters: ${counted(seen.filters)}.\n`;
}

function casesParagraph({ mode, name, passed, waived }: CasesSeen): string {
  const how = mode === 'live' ? `live, against ${name}` : `by wire, against ${name}`;
  const lines = Object.entries(waived).map(([what, why]) => `- not asked for: ${what} (${why})\n`);
  return `By the conformance suite, ${how}: ${passed} cases passed.\n${lines.length > 0 ? '\n' : ''}${lines.join('')}`;
}

/**
 * The content of a `seen.json` that counts cases.
 *
 * @throws Error when it is none.
 */
export function parseSeenCases(text: string, path: string): CasesSeen {
  // A parse boundary, as below.
  const seen = JSON.parse(text) as Partial<CasesSeen>;
  const known = (seen.mode === 'live' || seen.mode === 'wire') && typeof seen.name === 'string';
  if (!known || typeof seen.passed !== 'number' || !seen.waived)
    throw new Error(`${path} is not what the suite writes`);
  return seen as CasesSeen;
}

/**
 * The content of a `seen.json`.
 *
 * @throws Error when it is none.
 */
export function parseSeen(text: string, path: string): Seen {
  // A parse boundary: what is read below is checked here, and the suite that wrote the file compares the rest.
  const seen = JSON.parse(text) as Partial<Seen>;
  const known = (seen.mode === 'live' || seen.mode === 'wire') && typeof seen.name === 'string';
  if (!known || !seen.filters || !seen.operators) throw new Error(`${path} is not what the suite writes`);
  return seen as Seen;
}

function resultOf(operators: Seen['operators'], feature: string): string {
  // A feature that another driver's file names; a file from before the feature was counted has none.
  const tally = Object.entries(operators).find(([name]) => name === feature)?.[1];
  return tally ? counted(tally) : 'not seen';
}

function counted({ exact, refused }: { readonly exact: number; readonly refused: number }): string {
  const parts = [exact > 0 && `${exact} exact`, refused > 0 && `${refused} refused`].filter(Boolean);
  return parts.length > 0 ? parts.join(', ') : 'not seen';
}

function labelOf(feature: string): string {
  return feature === 'orderedStrings' ? '`gt` `gte` `lt` `lte` of strings' : `\`${feature}\``;
}
