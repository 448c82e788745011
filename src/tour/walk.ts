import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { BaseConnector } from '../connectors/base.ts';
import type { FileConnector } from '../connectors/file/connector.ts';
import type { ServerlessConnector } from '../connectors/serverless/connector.ts';
import type { Invocation } from '../connectors/serverless/invocations.ts';
import type { Match, VectorConnector } from '../connectors/vector/connector.ts';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import type { ConnectorStats } from '../registry/stats.ts';
import type { TenantView } from '../registry/tenant.ts';
import { HASHED_DIMENSION, type FeatureHashing } from './feature-hashing.ts';
import { type Advance, indexPassages, storeFiles } from './fill.ts';
import type { TourNames } from './names.ts';
import { sourceFiles } from './source-files.ts';
import { readState, readStatistics, STATISTICS_PATH, type TourState, writeState } from './state.ts';

const FUNCTION_NAME = 'summarize';
const MATCHES_SHOWN = 3;
const RESULT_POLL_MS = 25;
const RESULT_WAIT_MS = 60_000;

/** What is walked, and for whom. */
export type Tour = {
  readonly tenant: TenantView;
  readonly names: TourNames;
  /** The folder whose text files are walked. */
  readonly folder: string;
  /** Names the folder among others: a walk never fills the connectors of another folder. */
  readonly source: string;
  /** What is asked; questions that the texts themselves suggest unless given. */
  readonly questions?: readonly string[] | undefined;
};

/** One thing that the walk has done, as whoever watches is told. */
export type TourEvent =
  | {
      readonly kind: 'files';
      readonly connector: string;
      readonly files: number;
      readonly bytes: number;
      readonly done: number;
    }
  | {
      readonly kind: 'passages';
      readonly connector: string;
      readonly passages: number;
      readonly dimension: number;
      readonly done: number;
    }
  | {
      readonly kind: 'function';
      readonly connector: string;
      readonly name: string;
      readonly deployed: boolean;
    }
  | { readonly kind: 'no_functions'; readonly reason: string }
  | { readonly kind: 'answer'; readonly question: string; readonly matches: readonly Match[] }
  | {
      readonly kind: 'invoked';
      readonly way: 'sync' | 'async';
      readonly question: string;
      readonly invocation: Invocation;
    }
  | { readonly kind: 'statistics'; readonly stats: ConnectorStats };

/** What there is after a walk: a question that can be asked of it, and whether functions run on this machine. */
export type Walked = { readonly question: string | undefined; readonly hasFunctions: boolean };

/** Whoever watches a walk. */
export interface TourWatcher {
  progress<T>(label: string, total: number, work: (advance: Advance) => Promise<T>): Promise<T>;
  tell(event: TourEvent): Promise<void>;
}

/**
 * Walks a tenant through the whole product over a folder of text: files, passages, vectors, questions, a function.
 *
 * What an earlier walk has done is not done again, and one that was interrupted is taken up where it stopped.
 *
 * @throws ConnectorError `already_exists` when the names are those of connectors that are not this walk's.
 */
export async function walk(tour: Tour, watcher: TourWatcher, signal: AbortSignal): Promise<Walked> {
  const { tenant, names } = tour;
  const sources = await sourceFiles(tour.folder);
  const files = await filesConnector(tour);
  const stored = await watcher.progress('writing files', sources.length, async (advance) =>
    storeFiles(sources, files, await readState(files, signal), { advance, signal }),
  );
  const bytes = sources.reduce((sum, { size }) => sum + size, 0);
  await watcher.tell({
    kind: 'files',
    connector: names.files,
    files: sources.length,
    bytes,
    done: stored.done,
  });

  const vectors = await vectorsConnector(tour);
  const indexed = await watcher.progress('making vectors', sources.length * 2, (advance) =>
    indexPassages(files, vectors, stored.state, { questions: tour.questions, advance, signal }),
  );
  const { passages } = indexed.state;
  const dimension = vectors.vectorDimension;
  await watcher.tell({
    kind: 'passages',
    connector: names.passages,
    passages,
    dimension,
    done: indexed.done,
  });

  const deployed = await deployFunction(tour, indexed.state, watcher, signal);
  if (deployed) await writeState(files, { ...indexed.state, functionHash: deployed.hash }, signal);

  const best = await askAll(indexed.state, files, vectors, watcher, signal);
  if (deployed && best) await invokeBothWays(deployed.functions, best, watcher, signal);
  await watcher.tell({ kind: 'statistics', stats: await tenant.getStatistics() });
  const functionHash = deployed?.hash ?? null;
  await writeState(files, { ...indexed.state, functionHash, walked: true }, signal);
  return { question: indexed.state.questions[0], hasFunctions: deployed !== undefined };
}

/** How far an earlier walk came: `absent` where there was none. */
export async function walkedSoFar(
  tenant: TenantView,
  { files: name }: TourNames,
  source: string,
): Promise<'absent' | 'begun' | 'done'> {
  const connector = await existing(tenant, name);
  if (!connector || !isOf(connector, source)) return 'absent';
  return (await readState(await tenant.file(connector.connectorId))).walked ? 'done' : 'begun';
}

/** True where the names are free, or those of an earlier walk over the same folder. */
export async function namesAreFree(tenant: TenantView, names: TourNames, source: string): Promise<boolean> {
  const taken = await Promise.all(Object.values(names).map((name) => existing(tenant, name)));
  return taken.every((connector) => !connector || isOf(connector, source));
}

async function filesConnector({ tenant, names, source }: Tour): Promise<FileConnector> {
  const found = await own(tenant, names.files, source);
  if (found) return tenant.file(found.connectorId);
  return tenant.createFileConnector({ name: names.files, metadata: { tour_source: source } });
}

async function vectorsConnector({ tenant, names, source }: Tour): Promise<VectorConnector> {
  const found = await own(tenant, names.passages, source);
  if (found) return tenant.vector(found.connectorId);
  const metadata = {
    tour_source: source,
    feature_hashing: { files_connector: names.files, statistics: STATISTICS_PATH },
  };
  return tenant.createVectorConnector({ name: names.passages, vectorDimension: HASHED_DIMENSION, metadata });
}

async function deployFunction(
  { tenant, names, source }: Tour,
  state: TourState,
  watcher: TourWatcher,
  signal: AbortSignal,
): Promise<{ readonly functions: ServerlessConnector; readonly hash: string } | undefined> {
  const found = await own(tenant, names.functions, source);
  const functions = found
    ? await tenant.serverless(found.connectorId)
    : await tenant.createServerlessConnector({ name: names.functions, metadata: { tour_source: source } });
  const filename = import.meta.url.endsWith('.ts') ? 'summarize.ts' : 'summarize.js';
  const code = await readFile(new URL(`./functions/${filename}`, import.meta.url), 'utf8');
  const hash = createHash('sha256').update(code).digest('hex');
  try {
    const known = await functions.listFunctions({ signal });
    const isDeployed = state.functionHash === hash && known.some(({ name }) => name === FUNCTION_NAME);
    if (!isDeployed) await functions.deployFunction(FUNCTION_NAME, { code, filename }, { signal });
    await watcher.tell({
      kind: 'function',
      connector: names.functions,
      name: FUNCTION_NAME,
      deployed: !isDeployed,
    });
    return { functions, hash };
  } catch (error) {
    // The runtime of functions is an optional package; everything else works without it.
    if (!isConnectorError(error) || error.code !== 'unavailable') throw error;
    await watcher.tell({ kind: 'no_functions', reason: error.message });
    return undefined;
  }
}

type Best = { readonly question: string; readonly text: string };

/** Asks every question; the answer is the match with the highest score of all. */
async function askAll(
  { questions }: TourState,
  files: FileConnector,
  vectors: VectorConnector,
  watcher: TourWatcher,
  signal: AbortSignal,
): Promise<Best | undefined> {
  const hashing = await readStatistics(files, signal);
  if (!hashing)
    throw new ConnectorError('not_found', `${STATISTICS_PATH} is gone; delete the connectors and walk again`);
  let best: (Best & { readonly score: number }) | undefined;
  for (const question of questions) {
    const matches = await ask(question, hashing, vectors, signal);
    await watcher.tell({ kind: 'answer', question, matches });
    const [first] = matches;
    if (first?.text !== undefined && first.score > (best?.score ?? 0))
      best = { question, text: first.text, score: first.score };
  }
  return best;
}

async function ask(question: string, hashing: FeatureHashing, vectors: VectorConnector, signal: AbortSignal) {
  const asked = hashing.vector(question);
  return asked.every((value) => value === 0)
    ? []
    : vectors.search([...asked], { topK: MATCHES_SHOWN, filter: { corpus: { $exists: true } }, signal });
}

async function invokeBothWays(
  functions: ServerlessConnector,
  { question, text }: Best,
  watcher: TourWatcher,
  signal: AbortSignal,
): Promise<void> {
  const payload = { text, question, sentences: 1 };
  const invocation = await functions.invoke(FUNCTION_NAME, payload, { signal });
  await watcher.tell({ kind: 'invoked', way: 'sync', question, invocation });
  const queued = await functions.invoke(FUNCTION_NAME, payload, { async: true, signal });
  const ended = await resultOf(functions, queued.requestId, signal);
  await watcher.tell({ kind: 'invoked', way: 'async', question, invocation: ended });
}

async function resultOf(
  functions: ServerlessConnector,
  requestId: string,
  signal: AbortSignal,
): Promise<Invocation> {
  const until = performance.now() + RESULT_WAIT_MS;
  for (;;) {
    const invocation = await functions.getResult(requestId, { signal });
    const hasEnded = invocation.status !== 'queued' && invocation.status !== 'running';
    if (hasEnded || performance.now() > until) return invocation;
    await delay(RESULT_POLL_MS, undefined, { signal });
  }
}

async function own(tenant: TenantView, name: string, source: string): Promise<BaseConnector | undefined> {
  const connector = await existing(tenant, name);
  if (connector && !isOf(connector, source))
    throw new ConnectorError(
      'already_exists',
      `the connector ${name} is not of this walk; rename or delete it`,
    );
  return connector;
}

async function existing(tenant: TenantView, name: string): Promise<BaseConnector | undefined> {
  try {
    return await tenant.getByName(name);
  } catch (error) {
    if (isConnectorError(error) && error.code === 'not_found') return undefined;
    throw error;
  }
}

function isOf({ metadata }: BaseConnector, source: string): boolean {
  return metadata['tour_source'] === source;
}
