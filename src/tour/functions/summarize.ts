/** What the function is called with: a text, and the question that it should answer. */
type Input = { readonly text: string; readonly question?: string; readonly sentences?: number };

/**
 * The sentences of a text that share most words with the question, in their order, and how long the text takes to read.
 *
 * Deployed by the walk and run in the sandbox of a functions connector, so it imports nothing.
 */
export function handler({ text, question = '', sentences = 2 }: Input) {
  if (typeof text !== 'string') throw new TypeError('text is a string');
  console.log(`summarize: ${text.length} characters`);
  const asked = new Set(words(question));
  const all = [...new Intl.Segmenter('en', { granularity: 'sentence' }).segment(text.replace(/\s+/g, ' '))]
    .map(({ segment }) => segment.trim())
    .filter((sentence) => sentence !== '');
  const scored = all.map((sentence, at) => ({ sentence, at, shared: sharedWords(sentence, asked) }));
  // Earlier sentences win ties: what a passage is about usually stands at its beginning.
  const chosen = scored.toSorted((a, b) => b.shared - a.shared || a.at - b.at).slice(0, sentences);
  const count = words(text).length;
  return {
    summary: chosen
      .toSorted((a, b) => a.at - b.at)
      .map(({ sentence }) => sentence)
      .join(' '),
    words: count,
    sentences: all.length,
    reading_seconds: Math.ceil(count / 4),
  };
}

function sharedWords(sentence: string, asked: ReadonlySet<string>): number {
  return new Set(words(sentence).filter((word) => asked.has(word))).size;
}

function words(text: string): readonly string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}
