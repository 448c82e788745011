import { z } from 'zod';
import { parseWith } from '../contract/validate.ts';
import { contentWords, meaningfulWords, stem } from './words.ts';

/** Numbers in each vector: below 1,024 collisions cost right answers, above it hardly any are won (docs/decisions.md). */
export const HASHED_DIMENSION = 1024;
const FREQUENCY_BUCKETS = 65_536;
const WEIGHTS = { word: 1, pair: 0.3, fragment: 0.15 } as const;
const FRAGMENT_LENGTH = 4;

const statistics = z.strictObject({
  method: z.literal('feature-hashing-1'),
  dimension: z.int().min(1),
  documents: z.int().min(0),
  /** In how many documents each bucket of features occurs, as runs: `[first bucket, count, count …]`. */
  frequencies: z.array(z.tuple([z.int().min(0), z.int().min(1)])),
});

/** What a corpus taught: what must be kept to turn a question into a vector of the same space later. */
export type CorpusStatistics = z.output<typeof statistics>;

/**
 * Turns text into vectors by feature hashing: no model, nothing learned but how rare each feature is.
 *
 * Words, pairs of neighbours and four-letter fragments are hashed to a place and a sign; each adds its weight, damped
 * by its count in the text and by the number of documents that have it. It finds texts that share words and parts of
 * words with the question; it knows nothing of meaning.
 */
export class FeatureHashing {
  readonly dimension: number;
  readonly #frequencies: Uint32Array;
  #documents: number;

  constructor(dimension: number = HASHED_DIMENSION) {
    this.dimension = dimension;
    this.#documents = 0;
    this.#frequencies = new Uint32Array(FREQUENCY_BUCKETS);
  }

  /** The vectorizer that `statistics()` described. @throws ConnectorError `invalid_argument` for anything else. */
  static fromStatistics(value: unknown): FeatureHashing {
    const { dimension, documents, frequencies } = parseWith(statistics, value, 'statistics');
    const made = new FeatureHashing(dimension);
    made.#documents = documents;
    for (const [bucket, count] of frequencies) made.#frequencies[bucket % FREQUENCY_BUCKETS] = count;
    return made;
  }

  /** The number of documents learned from. */
  get documents(): number {
    return this.#documents;
  }

  /** Takes a document into the statistics; vectors made before stay as they were. */
  learn(text: string): void {
    this.#documents += 1;
    const buckets = new Set([...features(text).values()].map(({ hash }) => bucketOf(hash)));
    for (const bucket of buckets) this.#frequencies[bucket] = (this.#frequencies[bucket] ?? 0) + 1;
  }

  /** A vector of length 1, or of zeros where the text has no word that carries meaning. */
  vector(text: string): Float32Array {
    const vector = new Float32Array(this.dimension);
    for (const { hash, count, weight } of features(text).values()) {
      const place = hash % this.dimension;
      const size = weight * (1 + Math.log(count)) * this.#rarity(hash);
      vector[place] = (vector[place] ?? 0) + (signOf(hash) ? size : -size);
    }
    const length = Math.hypot(...vector);
    return length === 0 ? vector : vector.map((value) => value / length);
  }

  /** The words of a text that tell it from the others most, best first. */
  characteristicWords(text: string, count: number): readonly string[] {
    const counts = new Map<string, number>();
    for (const word of meaningfulWords(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
    const scored = [...counts].map(([word, times]) => ({
      word,
      score: (1 + Math.log(times)) * this.rarityOf(word),
    }));
    scored.sort((a, b) => b.score - a.score || (a.word < b.word ? -1 : 1));
    return scored.slice(0, count).map(({ word }) => word);
  }

  /** How rare a word is in the corpus; the largest for one that it does not have. */
  rarityOf(word: string): number {
    return this.#rarity(hashOf(`word ${stem(word)}`));
  }

  /** What `fromStatistics` takes. */
  statistics(): CorpusStatistics {
    const frequencies: [number, number][] = [];
    this.#frequencies.forEach((count, bucket) => count > 0 && frequencies.push([bucket, count]));
    return {
      method: 'feature-hashing-1',
      dimension: this.dimension,
      documents: this.#documents,
      frequencies,
    };
  }

  #rarity(hash: number): number {
    const having = this.#frequencies[bucketOf(hash)] ?? 0;
    return Math.log(1 + (this.#documents + 0.5) / (having + 0.5));
  }
}

type Feature = { readonly hash: number; readonly count: number; readonly weight: number };

function features(text: string): Map<string, Feature> {
  const found = new Map<string, Feature>();
  const add = (kind: keyof typeof WEIGHTS, value: string) => {
    const name = `${kind} ${value}`;
    const known = found.get(name);
    found.set(
      name,
      known ? { ...known, count: known.count + 1 } : { hash: hashOf(name), count: 1, weight: WEIGHTS[kind] },
    );
  };
  let before: string | undefined;
  for (const word of contentWords(text)) {
    add('word', word);
    if (before !== undefined) add('pair', `${before} ${word}`);
    before = word;
    for (let at = 0; at + FRAGMENT_LENGTH <= word.length && word.length > FRAGMENT_LENGTH; at++) {
      add('fragment', word.slice(at, at + FRAGMENT_LENGTH));
    }
  }
  return found;
}

/** FNV-1a with the finish of MurmurHash3: FNV alone leaves the low bits of short words alike. */
function hashOf(name: string): number {
  let hash = 0x81_1c_9d_c5;
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01_00_01_93);
  return mixed(hash);
}

function mixed(hash: number): number {
  let mix = hash;
  mix = Math.imul(mix ^ (mix >>> 16), 0x85_eb_ca_6b);
  mix = Math.imul(mix ^ (mix >>> 13), 0xc2_b2_ae_35);
  return (mix ^ (mix >>> 16)) >>> 0;
}

// Mixed again, so that features that share a place neither share their sign nor their bucket.
function signOf(hash: number): boolean {
  return (mixed(hash ^ 0x9e_37_79_b9) & 1) === 1;
}
function bucketOf(hash: number): number {
  return mixed(hash ^ 0x7f_4a_7c_15) % FREQUENCY_BUCKETS;
}
