/** What `summarize` is called with: `{ "text": "…" }`. */
type Passage = { readonly text: string };

const COMMON = new Set(
  'about after also because before been being between both could does each every from have here into just like made make many more most much must never only other over same should some such than that their them then there these they this those through under very what when where which while will with would your'.split(
    ' ',
  ),
);

/** The first sentence of a passage, how many words it has, and the five that it uses most. */
export function handler({ text }: Passage) {
  if (typeof text !== 'string') throw new TypeError('the payload is { "text": "…" }');
  const prose = text
    .replaceAll(/^#+ .*$/gm, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim();
  const words = prose.match(/\p{L}[\p{L}\p{N}'’-]*/gu) ?? [];
  return {
    firstSentence: /^.*?[.!?](?=\s|$)/.exec(prose)?.[0] ?? prose,
    words: words.length,
    topWords: mostFrequent(words.map((word) => word.toLowerCase())),
  };
}

function mostFrequent(
  words: readonly string[],
): readonly { readonly word: string; readonly count: number }[] {
  const counts = new Map<string, number>();
  for (const word of words) {
    if (word.length > 3 && !COMMON.has(word)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts]
    .map(([word, count]) => ({ word, count }))
    .toSorted((a, b) => b.count - a.count || (a.word < b.word ? -1 : 1))
    .slice(0, 5);
}
