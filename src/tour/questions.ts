import type { FeatureHashing } from './feature-hashing.ts';
import { indexedText, type Passage } from './passages.ts';
import { meaningfulWords } from './words.ts';

/** What the walk asks the project's own documentation. */
export const DOCS_QUESTIONS: readonly string[] = [
  'In which order do the policies wrap a call?',
  'Is the old file still there when the process is killed while a new one is being written?',
  'What happens when a second process opens the same data directory?',
];

const QUESTIONS = 3;

type Candidate = { readonly question: string; readonly file: string; readonly worth: number };

/**
 * Three things that can be asked of any folder: its most telling headings, of different files where it has several;
 * for text without headings, the words that tell a passage from all others.
 */
export class QuestionFinder {
  readonly #best = new Map<string, Candidate>();
  readonly #hashing: FeatureHashing;

  /** @param hashing has learned the whole corpus. */
  constructor(hashing: FeatureHashing) {
    this.#hashing = hashing;
  }

  /** Considers a passage; only the best of each file is remembered. */
  consider(passage: Passage): void {
    const candidate = this.#candidate(passage);
    const known = this.#best.get(passage.file);
    if (!known || candidate.worth > known.worth) this.#best.set(passage.file, candidate);
  }

  /** The best questions so far, best first. */
  questions(): readonly string[] {
    const sorted = [...this.#best.values()].sort((a, b) => b.worth - a.worth || (a.file < b.file ? -1 : 1));
    return [...new Set(sorted.map(({ question }) => question))].slice(0, QUESTIONS);
  }

  #candidate(passage: Passage): Candidate {
    const heading = (passage.heading.split(' › ').at(-1) ?? '').replace(/^[\d.]+\s+/, '');
    const words = meaningfulWords(heading);
    if (words.length >= 2 && words.length <= 10) {
      // The whole heading path counts 1, the rarest words of a text without headings less, whatever they are.
      const rarity = words.reduce((sum, word) => sum + this.#hashing.rarityOf(word), 0) / words.length;
      return { question: heading, file: passage.file, worth: 100 + rarity };
    }
    const telling = this.#hashing.characteristicWords(indexedText(passage), 4);
    const worth = telling.reduce((sum, word) => sum + this.#hashing.rarityOf(word), 0);
    return { question: telling.join(' '), file: passage.file, worth: Math.min(worth, 99) };
  }
}
