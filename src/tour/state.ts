import { z } from 'zod';
import type { FileConnector } from '../connectors/file/connector.ts';
import { parseWith } from '../contract/validate.ts';
import { isConnectorError } from '../errors/error.ts';
import { type CorpusStatistics, FeatureHashing } from './feature-hashing.ts';

/** Where the walk keeps what it has done and learned, in the file connector that it fills. */
export const STATE_PATH = '.tour/state.json';
export const STATISTICS_PATH = '.tour/feature-hashing.json';

const state = z.strictObject({
  /** SHA-256 of each file that is stored, by path. */
  files: z.record(z.string(), z.string()).default({}),
  /** Names the corpus that the vectors were made of. */
  corpus: z.string().nullable().default(null),
  passages: z.int().min(0).default(0),
  questions: z.array(z.string()).default([]),
  /** SHA-256 of the function's source that is deployed. */
  functionHash: z.string().nullable().default(null),
  /** Whether every stage has been gone through once. */
  walked: z.boolean().default(false),
});

/** What an earlier walk has done. */
export type TourState = z.output<typeof state>;

/** The state that an earlier walk left, or that of a walk that has not begun. */
export async function readState(files: FileConnector, signal?: AbortSignal): Promise<TourState> {
  return parseWith(state, (await readJson(files, STATE_PATH, signal)) ?? {}, STATE_PATH);
}

/** Keeps the state durably. */
export async function writeState(
  files: FileConnector,
  value: TourState,
  signal?: AbortSignal,
): Promise<void> {
  await files.writeFile(STATE_PATH, JSON.stringify(value), { signal });
}

/** The vectorizer of the corpus that the walk has filled its connectors with, if it has. */
export async function readStatistics(
  files: FileConnector,
  signal?: AbortSignal,
): Promise<FeatureHashing | undefined> {
  const kept = await readJson(files, STATISTICS_PATH, signal);
  return kept === undefined ? undefined : FeatureHashing.fromStatistics(kept);
}

/** Keeps what a question needs to become a vector of the same space later. */
export async function writeStatistics(
  files: FileConnector,
  value: CorpusStatistics,
  signal?: AbortSignal,
): Promise<void> {
  await files.writeFile(STATISTICS_PATH, JSON.stringify(value), { signal });
}

async function readJson(files: FileConnector, path: string, signal?: AbortSignal): Promise<unknown> {
  try {
    return JSON.parse(new TextDecoder().decode(await files.readFile(path, { signal })));
  } catch (error) {
    if (isConnectorError(error) && error.code === 'not_found') return undefined;
    throw error;
  }
}
