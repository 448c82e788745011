import fc from 'fast-check';
import { expect, it } from 'vitest';
import { FeatureHashing } from './feature-hashing.ts';
import { contentWords, stem } from './words.ts';

const CORPUS = [
  'Credentials are encrypted at rest with a key for each tenant.',
  'A write goes to a temporary file, which is renamed when it is whole.',
  'The breaker opens after five failures of the backend in a row.',
  'Each attempt of a call takes a slot of the limiter.',
];

function trained(): FeatureHashing {
  const hashing = new FeatureHashing(512);
  for (const text of CORPUS) hashing.learn(text);
  return hashing;
}

const cosine = (a: Float32Array, b: Float32Array) =>
  a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0);

it.each([
  ['How is a credential encrypted?', 0],
  ['what happens to temporary files', 1],
  ['When does the circuit breaker open?', 2],
  ['rate limiters and attempts', 3],
])('puts %j nearest to the text that shares its words', (question, nearest) => {
  const hashing = trained();
  const asked = hashing.vector(question);
  const scores = CORPUS.map((text) => cosine(asked, hashing.vector(text)));
  expect(scores.indexOf(Math.max(...scores))).toBe(nearest);
});

it('makes the same vectors from the statistics that were kept', () => {
  const kept = FeatureHashing.fromStatistics(JSON.parse(JSON.stringify(trained().statistics())));
  expect(kept.documents).toBe(CORPUS.length);
  expect(kept.vector('the breaker of a backend')).toEqual(trained().vector('the breaker of a backend'));
});

it('refuses statistics of another method', () => {
  const other = { ...trained().statistics(), method: 'a model' };
  expect(() => FeatureHashing.fromStatistics(other)).toThrow(/statistics\.method/);
});

it('answers a vector of length 1 for any text with a meaningful word, and zeros for others', () => {
  const hashing = trained();
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), (text) => {
      const length = Math.hypot(...hashing.vector(text));
      expect(length).toBeCloseTo(contentWords(text).length > 0 ? 1 : 0, 4);
    }),
  );
});

it('names the words that tell a text from the others', () => {
  expect(trained().characteristicWords('tenant tenant a backend of zebras', 2)).toEqual(['tenant', 'zebras']);
});

it.each([
  ['policies', 'policy'],
  ['wrapped', 'wrap'],
  ['wrapping', 'wrap'],
  ['writes', 'writ'],
  ['writing', 'writ'],
  ['drivers', 'driver'],
  ['status', 'status'],
  ['class', 'class'],
])('takes %s to the stem %s', (word, expected) => {
  expect(stem(word)).toBe(expected);
});

it('cuts identifiers into their words', () => {
  expect(contentWords('CONNECTORS_DATA_DIR and dataDir')).toEqual([
    'connector',
    'data',
    'dir',
    'data',
    'dir',
  ]);
});
