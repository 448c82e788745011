/** Words that say nothing about what a text is about, questions' own words among them. */
const STOP_WORDS = new Set(
  (
    'a about above after again all also am an and any are as at be because been before being below between both but by ' +
    'can could did do does doing done down each either else ever every few for from further get gets given go goes had ' +
    'happen happens has have having he her here hers him his how however i if in into is it its itself just let like ' +
    'made make makes many may me might more most much must my no nor not now of off on once one only or other our out ' +
    'over own per please same shall she should since so some still such than that the their them then there these they ' +
    'thing things this those through thus to too under until up upon us use used uses using very was way we well were ' +
    'what when where whether which while who whom whose why will with within without would yet you your'
  ).split(' '),
);

const SUFFIXES: readonly (readonly [ending: string, shortestStem: number, replacement: string])[] = [
  ['ization', 4, 'ize'],
  ['isation', 4, 'ise'],
  ['ations', 4, 'ate'],
  ['ation', 4, 'ate'],
  ['nesses', 3, ''],
  ['ness', 3, ''],
  ['ingly', 3, ''],
  ['edly', 3, ''],
  ['ies', 2, 'y'],
  ['ied', 2, 'y'],
  ['sses', 2, 'ss'],
  ['ings', 3, ''],
  ['ing', 3, ''],
  ['ed', 3, ''],
  ['ers', 3, 'er'],
  ['ly', 3, ''],
];

/**
 * The words of a text that carry meaning, in order: lower case, stop words left out, endings taken off.
 *
 * Identifiers are cut into their parts, so that `dataDir` and `DATA_DIR` meet "data dir".
 */
export function contentWords(text: string): readonly string[] {
  return meaningfulWords(text).map(stem);
}

/** The same words in order, with their endings. */
export function meaningfulWords(text: string): readonly string[] {
  const spaced = text.normalize('NFKC').replace(/(\p{Ll})(\p{Lu})/gu, '$1 $2');
  const words = spaced.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return words.filter((word) => word.length > 1 && !STOP_WORDS.has(word));
}

/** The number of words, as a reader counts them. */
export function wordCount(text: string): number {
  return text.match(/\S+/g)?.length ?? 0;
}

/** A word without its English ending: `written`, unlike `writing`, is left alone, because no rule finds it. */
export function stem(word: string): string {
  for (const [ending, shortestStem, replacement] of SUFFIXES) {
    if (word.endsWith(ending) && word.length - ending.length >= shortestStem)
      return withoutDoubling(word.slice(0, -ending.length) + replacement, replacement === '');
  }
  if (/[^su]s$/.test(word) && word.length > 3) return withoutFinalE(word.slice(0, -1));
  return withoutFinalE(word);
}

/** `stopped` and `stop`, `writing` and `write` end as the same stem. */
function withoutDoubling(stemmed: string, mayDouble: boolean): string {
  if (mayDouble && /([b-df-hj-km-np-rtv-y])\1$/.test(stemmed)) return stemmed.slice(0, -1);
  return withoutFinalE(stemmed);
}

function withoutFinalE(word: string): string {
  return word.length > 4 && word.endsWith('e') ? word.slice(0, -1) : word;
}
