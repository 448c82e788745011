import type { Collection, Where } from 'chromadb';
import { nearer, type ClientMatch, type ClientQuery, type DistanceMetric } from '../../../driver.ts';
import { idsOf, misshapen } from './api.ts';
import { lengthOf } from './exact-values.ts';
import { storedOf, type Row } from './records.ts';
import { rawScoreOf, scoreIn } from './scores.ts';

/** Records that are asked for at most to find all that are equally near at the end of an answer. */
const MOST_ASKED = 20_000;
/** Records at most that are compared here, one by one, when Chroma's graph does not lead to all that match. */
const MOST_COMPARED = 20_000;
const READ_AT_ONCE = 500;

type Vector = readonly number[] | Float32Array;
type Found = Row & { readonly distance: number | null };
type Scored = { readonly id: string; readonly rawScore: number; readonly row: Row };
type Include = 'metadatas' | 'documents' | 'embeddings';

/** Searches of one collection. */
export class Search {
  readonly #collection: Collection;
  readonly #metric: DistanceMetric;
  readonly #idsOf: (where: Where | undefined) => Promise<readonly string[]>;

  constructor(
    collection: Collection,
    metric: DistanceMetric,
    idsOf: (where: Where | undefined) => Promise<readonly string[]>,
  ) {
    this.#collection = collection;
    this.#metric = metric;
    this.#idsOf = idsOf;
  }

  async run(
    vector: Vector,
    { topK, includeMetadata, includeValues }: ClientQuery,
    where: Where | undefined,
  ): Promise<readonly ClientMatch[]> {
    const include: Include[] = [
      ...(includeMetadata ? (['metadatas', 'documents'] as const) : []),
      // What makes the values exact lies in the metadata.
      ...(includeValues ? (['embeddings'] as const) : []),
      ...(includeValues && !includeMetadata ? (['metadatas'] as const) : []),
    ];
    const found = await this.#nearest(vector, { topK, where, include });
    const foundIds = found.rows.map(({ id }) => id);
    const missed = found.isShort ? await this.#missed(foundIds, where) : [];
    // One arithmetic for all of them, or equal vectors would not have equal scores.
    const scored =
      missed.length > 0
        ? await this.#compared(vector, [...foundIds, ...missed], include)
        : await this.#scored(vector, found.rows, include);
    return scored
      .toSorted(nearer(this.#metric))
      .slice(0, topK)
      .map(({ rawScore, row }) => {
        const { id, values, metadata, text } = storedOf(row);
        return {
          id,
          rawScore,
          ...(includeMetadata && metadata !== undefined && { metadata }),
          ...(includeMetadata && text !== undefined && { text }),
          ...(includeValues && values && { values }),
        };
      });
  }

  /**
   * The nearest, and those that are as near as the last of them: Chroma's choice among these is its own, and ours is
   * by id. Short when Chroma found fewer than it was asked for, be it because there are no more.
   */
  async #nearest(
    vector: Vector,
    {
      topK,
      where,
      include,
    }: { readonly topK: number; readonly where: Where | undefined; readonly include: Include[] },
  ): Promise<{ readonly rows: readonly Found[]; readonly isShort: boolean }> {
    for (let asked = topK + 1; ; asked = Math.min(MOST_ASKED, asked * 4)) {
      const rows = await this.#query(vector, { asked, where, include });
      if (rows.length < asked) return { rows, isShort: true };
      const isCut = this.#rawScoreIn(rows[topK - 1]) === this.#rawScoreIn(rows.at(-1));
      if (!isCut || asked >= MOST_ASKED) return { rows, isShort: false };
    }
  }

  /** Cosines that rounding has taken beyond 1 are equal, though their distances are not. */
  #rawScoreIn(row: Found | undefined): number | undefined {
    const distance = row?.distance ?? null;
    return distance === null ? undefined : rawScoreOf(this.#metric, distance);
  }

  async #query(
    vector: Vector,
    {
      asked,
      where,
      include,
    }: { readonly asked: number; readonly where: Where | undefined; readonly include: Include[] },
  ): Promise<readonly Found[]> {
    const answer = await this.#collection.query({
      queryEmbeddings: [this.#metric === 'cosine' ? directionOf(vector) : Array.from(vector)],
      nResults: asked,
      ...(where && { where }),
      include: ['distances', ...include],
    });
    const ids = idsOf({ ids: answer.ids[0] });
    const distances = answer.distances[0];
    if (!isDistances(distances, ids.length)) throw misshapen('distances');
    return ids.map((id, i) => ({
      id,
      distance: distances[i] ?? null,
      metadata: answer.metadatas[0]?.[i],
      document: answer.documents[0]?.[i],
      embedding: answer.embeddings[0]?.[i] ?? undefined,
    }));
  }

  async #scored(vector: Vector, rows: readonly Found[], include: Include[]): Promise<readonly Scored[]> {
    // A sum that float32 cannot hold is null.
    const beyond = rows.filter(({ distance }) => distance === null).map(({ id }) => id);
    const scored = rows.flatMap(({ distance, ...row }) =>
      distance === null ? [] : { id: row.id, rawScore: rawScoreOf(this.#metric, distance), row },
    );
    return beyond.length === 0 ? scored : [...scored, ...(await this.#compared(vector, beyond, include))];
  }

  /**
   * What matches and was not found. Chroma's graph does not lead everywhere, least of all among vectors that are nearly
   * parallel, and a filter leaves fewer ways through it.
   */
  async #missed(foundIds: readonly string[], where: Where | undefined): Promise<readonly string[]> {
    if (where === undefined && (await this.#collection.count()) <= foundIds.length) return [];
    const seen = new Set(foundIds);
    const missed = (await this.#idsOf(where)).filter((id) => !seen.has(id));
    return missed.length > MOST_COMPARED ? [] : missed;
  }

  async #compared(vector: Vector, ids: readonly string[], include: Include[]): Promise<readonly Scored[]> {
    const scored: Scored[] = [];
    const wanted = new Set<Include>([...include, 'embeddings', 'metadatas']);
    for (let at = 0; at < ids.length; at += READ_AT_ONCE) {
      const part = ids.slice(at, at + READ_AT_ONCE);
      const { metadatas, documents, embeddings, ...rest } = await this.#collection.get({
        ids: part,
        include: [...wanted],
      });
      for (const [i, id] of idsOf(rest).entries()) {
        const row: Row = { id, metadata: metadatas[i], document: documents[i], embedding: embeddings[i] };
        const { values } = storedOf(row);
        if (values === undefined) throw misshapen('vectors');
        scored.push({ id, rawScore: scoreIn(this.#metric, vector, values), row });
      }
    }
    return scored;
  }
}

/** At length 1: Chroma squares in float32, and finds no direction in what is very short or very long. */
function directionOf(vector: Vector): number[] {
  const length = lengthOf(vector);
  return Array.from(vector, (value) => value / length);
}

function isDistances(distances: unknown, count: number): distances is readonly (number | null)[] {
  return (
    Array.isArray(distances) &&
    distances.length === count &&
    distances.every((distance) => distance === null || typeof distance === 'number')
  );
}
