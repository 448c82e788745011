import type { FileConnector } from '../connectors/file/connector.ts';
import type { VectorConnector } from '../connectors/vector/connector.ts';
import type { VectorRecord } from '../connectors/vector/driver.ts';
import { ConnectorError } from '../errors/error.ts';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { FeatureHashing } from './feature-hashing.ts';
import { indexedText, type Passage, passagesOf } from './passages.ts';
import { QuestionFinder } from './questions.ts';
import { contentHash, type SourceFile } from './source-files.ts';
import { type TourState, writeState, writeStatistics } from './state.ts';

/** Changes whenever the same files would be cut or hashed otherwise, so that an upgrade makes the vectors anew. */
const FORMAT = 'passages-1 feature-hashing-1';
const RECORDS_AT_ONCE = 500;

/** Told about each step of long work. */
export type Advance = (steps?: number) => void;

/** What a stage did: `done` is 0 where an earlier walk had done it all. */
export type StageResult = { readonly state: TourState; readonly done: number };

/** Writes through the file connector what is new or has changed, and removes what the folder no longer has. */
export async function storeFiles(
  sources: readonly SourceFile[],
  files: FileConnector,
  before: TourState,
  { advance, signal }: { readonly advance: Advance; readonly signal: AbortSignal },
): Promise<StageResult> {
  const hashes: Record<string, string> = {};
  let done = 0;
  for (const source of sources) {
    const hash = await contentHash(source);
    hashes[source.path] = hash;
    if (before.files[source.path] !== hash) {
      await files.writeFile(source.path, createReadStream(source.absolute), { signal });
      done += 1;
    }
    advance();
  }
  for (const path of Object.keys(before.files).filter((path) => !Object.hasOwn(hashes, path))) {
    await files.deleteFile(path, { signal });
    done += 1;
  }
  const state = { ...before, files: hashes };
  if (done > 0) await writeState(files, state, signal);
  return { state, done };
}

/**
 * Reads the stored files back through the connector, cuts them into passages and upserts a vector for each.
 *
 * Twice over the files, because how rare a word is must be known before the first vector is made; so no more than one
 * file is held at a time. The new vectors are whole and durable before those of an older corpus are removed.
 */
export async function indexPassages(
  files: FileConnector,
  vectors: VectorConnector,
  before: TourState,
  {
    questions,
    advance,
    signal,
  }: {
    readonly questions?: readonly string[] | undefined;
    readonly advance: Advance;
    readonly signal: AbortSignal;
  },
): Promise<StageResult> {
  const paths = Object.keys(before.files).sort();
  const corpus = corpusName(before.files);
  if (
    before.corpus === corpus &&
    (await vectors.countVectors({ filter: { corpus }, signal })) === before.passages
  )
    return { state: before, done: 0 };

  const hashing = new FeatureHashing(vectors.vectorDimension);
  for (const path of paths) {
    for (const passage of await readPassages(files, path, signal)) hashing.learn(indexedText(passage));
    advance();
  }
  if (hashing.documents === 0)
    throw new ConnectorError('invalid_argument', 'the files hold no text; name a folder with some');
  // Before the first vector, so that whatever vectors there are can be searched after an interruption.
  await writeStatistics(files, hashing.statistics(), signal);

  const finder = new QuestionFinder(hashing);
  let batch: VectorRecord[] = [];
  let passages = 0;
  const flush = async () => {
    if (batch.length > 0) await vectors.upsertVectors(batch, { signal });
    batch = [];
  };
  for (const path of paths) {
    for (const passage of await readPassages(files, path, signal)) {
      const values = hashing.vector(indexedText(passage));
      // Without a meaningful word there is no direction, and nothing that a question could find.
      if (values.every((value) => value === 0)) continue;
      finder.consider(passage);
      batch.push(record(passage, values, corpus));
      passages += 1;
      if (batch.length >= RECORDS_AT_ONCE) await flush();
    }
    advance();
  }
  await flush();
  const older = { $and: [{ corpus: { $exists: true } }, { corpus: { $ne: corpus } }] };
  await vectors.deleteVectors({ filter: older }, { signal });
  const state = { ...before, corpus, passages, questions: [...(questions ?? finder.questions())] };
  await writeState(files, state, signal);
  return { state, done: passages };
}

function record({ id, file, heading, text }: Passage, values: Float32Array, corpus: string): VectorRecord {
  return { id: recordId(id), values, text, metadata: { file, heading, passage: id, corpus } };
}

/** An id of at most 512 characters, whatever the path. */
function recordId(passageId: string): string {
  return passageId.length <= 512 ? passageId : createHash('sha256').update(passageId).digest('hex');
}

async function readPassages(
  files: FileConnector,
  path: string,
  signal: AbortSignal,
): Promise<readonly Passage[]> {
  const bytes = await files.readFile(path, { signal });
  return passagesOf(path, new TextDecoder().decode(bytes));
}

function corpusName(files: Readonly<Record<string, string>>): string {
  const hash = createHash('sha256').update(FORMAT);
  for (const path of Object.keys(files).sort()) hash.update(`\n${path} ${files[path]}`);
  return hash.digest('hex').slice(0, 16);
}
