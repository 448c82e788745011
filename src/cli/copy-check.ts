import { isDeepStrictEqual } from 'node:util';
import type { Answer } from '../operations/operation.ts';
import { vectorCount, vectorFetch, vectorSearch } from '../operations/vector.ts';
import type { CommandSession } from './command-session.ts';
import type { Connectors, CopyStanding } from './copy-records.ts';
import { facts, table } from './print.ts';
import { count, withProgress } from './progress.ts';
import { shapeOf } from './vector-pages.ts';

const TOP_K = 10;
/** How far the scores of one record may lie apart: both come from float32 vectors. */
const TOLERANCE = 1e-5;

type SearchCheck = {
  readonly searches: number;
  /** How many ids were compared. */
  readonly ids: number;
  /** The share of them that both found, 0 to 1. */
  readonly agreement: number;
  /** How many ids that both found have scores that differ. */
  readonly other_scores: number;
};

/** What became of a copy, in wire names. */
export type CopyReport = Pick<CopyStanding, 'copied' | 'failed' | 'errors'> & {
  readonly verified: boolean;
  /** How many records each holds now, and the target held before. */
  readonly counts: { readonly from: number; readonly to: number; readonly before: number };
  /** The sample read from both: ids that the target lacks, or has with other content. */
  readonly records: { readonly compared: number; readonly differing: readonly string[] };
  readonly searches: SearchCheck | { readonly skipped: string };
};

/** Compares the two ends of a copy that has ended. */
export async function verify(
  session: CommandSession,
  both: Connectors,
  { copied, failed, errors, before, sample, minAgreement }: CopyStanding & { readonly minAgreement: number },
): Promise<CopyReport> {
  const [from, to] = await Promise.all(
    [both.from, both.to].map(async (connector) => (await session.run(vectorCount, {}, { connector })).count),
  );
  const counts = { from: from ?? 0, to: to ?? 0, before };
  const { check: records, found } = await compareRecords(session, both, sample);
  const skipped = whyNotSearched(both, counts);
  const searches = skipped === undefined ? await compareSearches(session, both, found) : { skipped };
  const report = { copied, failed, errors, verified: true, counts, records, searches };
  return { ...report, verified: failed === 0 && differences(report, minAgreement).length === 0 };
}

/** What differs, for people; nothing where the copy is one. */
export function differences(
  { counts, records, searches }: CopyReport,
  minAgreement: number,
): readonly string[] {
  const found: string[] = [];
  const { from, to, before } = counts;
  if (before === 0 && to !== from) found.push(`it holds ${count(to)} records, not ${count(from)}`);
  // Of those that were there some may have had the same ids: how many, nobody counted.
  if (before > 0 && (to < Math.max(before, from) || to > before + from))
    found.push(
      `it holds ${count(to)} records, and should hold ${count(Math.max(before, from))} to ${count(before + from)}`,
    );
  const { differing, compared } = records;
  if (differing.length > 0)
    found.push(`${differing.length} of ${compared} sampled records differ, for example ${differing[0]}`);
  if ('skipped' in searches) return found;
  const { agreement, other_scores: others, ids } = searches;
  if (agreement < minAgreement)
    found.push(
      `searches agree on ${percent(agreement)} of ${ids} ids, and ${percent(minAgreement)} are wanted`,
    );
  if (others > 0) found.push(`${others} of ${ids} ids have other scores`);
  return found;
}

/** A report for people. */
export function reportTable(
  { copied, failed, counts, records, searches }: CopyReport,
  { from, to }: Connectors,
): string {
  const { before } = counts;
  const sampled = `${records.compared - records.differing.length} of ${records.compared} equal`;
  const searched =
    'skipped' in searches
      ? `not compared: ${searches.skipped}`
      : `${percent(searches.agreement)} of ${count(searches.ids)} ids agree, ${searches.other_scores} with other scores`;
  const rows = [
    [`records in ${from.name}`, count(counts.from)],
    [
      `records in ${to.name}`,
      `${count(counts.to)}${before > 0 ? ` (${count(before)} before the copy)` : ''}`,
    ],
    ['sampled records', sampled],
    ['searches', searched],
  ];
  return `${facts([
    ['copied', count(copied)],
    ['refused', count(failed)],
  ])}\n\n${table(['CHECK', 'RESULT'], rows)}`;
}

function percent(share: number): string {
  // Rounded down: what is not all of them is never shown as 100 %.
  return `${Math.floor(share * 10_000) / 100} %`;
}

function whyNotSearched({ from, to }: Connectors, counts: CopyReport['counts']): string | undefined {
  if (shapeOf(from).distance_metric !== shapeOf(to).distance_metric) return 'the metric is another one';
  if (counts.before > 0 && counts.from !== counts.to) return `${to.name} holds other records as well`;
  return undefined;
}

type Fetched = Answer<typeof vectorFetch>['records'][number];

async function compareRecords(session: CommandSession, { from, to }: Connectors, ids: readonly string[]) {
  const [source = [], target = []] = await Promise.all(
    [from, to].map(async (connector) => (await session.run(vectorFetch, { ids }, { connector })).records),
  );
  const copies = new Map(target.map((record) => [record.id, record]));
  const differing = source.filter((record) => !isSame(record, copies.get(record.id))).map(({ id }) => id);
  return { check: { compared: source.length, differing }, found: source };
}

async function compareSearches(
  session: CommandSession,
  { from, to }: Connectors,
  records: readonly Fetched[],
): Promise<SearchCheck> {
  let [ids, agreed, others] = [0, 0, 0];
  const label = 'comparing searches';
  await withProgress(session.terminal, { label, total: records.length }, async (advance) => {
    for (const { values } of records) {
      const input = { vector: values, top_k: TOP_K, include_metadata: false };
      const [source = [], target = []] = await Promise.all(
        [from, to].map(async (connector) => (await session.run(vectorSearch, input, { connector })).matches),
      );
      const compared = compareMatches(source, target);
      ids += compared.ids;
      agreed += compared.agreed;
      others += compared.others;
      advance();
    }
  });
  return { searches: records.length, ids, agreement: ids === 0 ? 1 : agreed / ids, other_scores: others };
}

type Match = { readonly id: string; readonly score: number };

/** What two searches have in common. An id that ties with the other's last may have lost its place to an equal. */
export function compareMatches(
  source: readonly Match[],
  target: readonly Match[],
): { readonly ids: number; readonly agreed: number; readonly others: number } {
  const scores = new Map(target.map(({ id, score }) => [id, score]));
  const last = target.at(-1);
  let [agreed, others] = [0, 0];
  for (const { id, score } of source) {
    const other = scores.get(id);
    if (other !== undefined) {
      agreed += 1;
      if (Math.abs(score - other) > TOLERANCE) others += 1;
    } else if (last && target.length >= source.length && Math.abs(score - last.score) <= TOLERANCE)
      agreed += 1;
  }
  return { ids: Math.max(source.length, target.length), agreed, others };
}

function isSame(record: Fetched, copy: Fetched | undefined): boolean {
  return (
    copy !== undefined &&
    record.values.length === copy.values.length &&
    record.values.every((value, i) => Math.fround(value) === Math.fround(copy.values[i] ?? Number.NaN)) &&
    record.text === copy.text &&
    isDeepStrictEqual(record.metadata, copy.metadata)
  );
}
