import { wordCount } from './words.ts';

/** A piece of a file that can be read by itself. */
export type Passage = {
  /** `<file>#<n>`, n counted from 1 within the file. */
  readonly id: string;
  readonly file: string;
  /** The headings that it lies under, outermost first, joined by ` › `; empty where there are none. */
  readonly heading: string;
  readonly text: string;
};

const FEWEST_WORDS = 40;
const MOST_WORDS = 110;

type Block = { readonly kind: 'prose' | 'list' | 'code'; readonly text: string };
/** Before the next item of a list or row of a table; the lines that go on with an item stay with it. */
const ITEM = /\n(?=\s*(?:[-*+]\s|\d+[.)]\s|\|))/;

type Section = { readonly heading: string; readonly blocks: readonly Block[] };

/**
 * The passages of a text or Markdown file, in order.
 *
 * A passage never crosses a heading. Neighbouring paragraphs are joined until there are 40 words; what has more than
 * 110 is cut between sentences, lists and tables between their lines. Code goes with the paragraph that introduces it.
 */
export function passagesOf(file: string, content: string): readonly Passage[] {
  const texts = sectionsOf(content).flatMap(({ heading, blocks }) =>
    packed(blocks.flatMap(cut)).map((text) => ({ heading, text })),
  );
  return texts.map(({ heading, text }, index) => ({ id: `${file}#${index + 1}`, file, heading, text }));
}

/** What is turned into a vector: the headings count as words of the passage. */
export function indexedText({ heading, text }: Pick<Passage, 'heading' | 'text'>): string {
  return `${heading}\n${text}`;
}

function sectionsOf(content: string): readonly Section[] {
  const sections: Section[] = [];
  const headings: string[] = [];
  let blocks: Block[] = [];
  let lines: string[] = [];
  let fence: string | undefined;

  const endBlock = (kind?: Block['kind']) => {
    const text = lines.join('\n').trim();
    if (text !== '') blocks.push({ kind: kind ?? (isList(lines) ? 'list' : 'prose'), text });
    lines = [];
  };
  const endSection = () => {
    endBlock(fence === undefined ? undefined : 'code');
    const heading = headings.filter((text) => text !== undefined).join(' › ');
    if (blocks.length > 0) sections.push({ heading, blocks });
    blocks = [];
  };

  for (const line of content.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/)) {
    const marker = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1];
    if (fence !== undefined) {
      lines.push(line);
      if (marker !== undefined && marker.startsWith(fence) && line.trim() === marker) {
        fence = undefined;
        endBlock('code');
      }
      continue;
    }
    if (marker !== undefined) {
      endBlock();
      fence = marker;
      lines.push(line);
      continue;
    }
    const heading = /^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*$/.exec(line);
    if (heading) {
      endSection();
      const depth = (heading[1] ?? '').length;
      headings.splice(depth - 1);
      headings[depth - 1] = plain(heading[2] ?? '');
      continue;
    }
    if (line.trim() === '') endBlock();
    else lines.push(line);
  }
  endSection();
  return sections;
}

/** A list or a table, by its first line: their line ends mean something. */
function isList([first = '']: readonly string[]): boolean {
  return ITEM.test(`\n${first}`);
}

/** The block, or parts of it where it is too long for a passage. */
function cut(block: Block): readonly Block[] {
  if (wordCount(block.text) <= MOST_WORDS) return [block];
  const parts =
    block.kind === 'prose' ? sentencesOf(block.text) : block.text.split(ITEM).map((item) => `${item}\n`);
  return joinedUpTo(parts.flatMap(bounded), MOST_WORDS).map((text) => ({
    kind: block.kind,
    text: text.trim(),
  }));
}

/** Line ends within a paragraph mean nothing, and the segmenter would take each for the end of a sentence. */
function sentencesOf(text: string): readonly string[] {
  const segments = new Intl.Segmenter('en', { granularity: 'sentence' }).segment(
    text.replace(/\s*\n\s*/g, ' '),
  );
  return [...segments].map(({ segment }) => segment);
}

/** A part without any sentence end may be as long as its author wished: it is cut between words. */
function bounded(part: string): readonly string[] {
  return wordCount(part) <= MOST_WORDS ? [part] : joinedUpTo(part.match(/\S+\s*/g) ?? [], MOST_WORDS);
}

function joinedUpTo(parts: readonly string[], mostWords: number): readonly string[] {
  const joined: string[] = [];
  let words = 0;
  for (const part of parts) {
    const more = wordCount(part);
    const last = joined.length - 1;
    if (last >= 0 && words + more <= mostWords) joined[last] += part;
    else joined.push(part);
    words = joined.length - 1 === last ? words + more : more;
  }
  return joined;
}

function packed(blocks: readonly Block[]): readonly string[] {
  const texts: string[] = [];
  let current = '';
  for (const { kind, text } of blocks) {
    const isFull = wordCount(current) >= FEWEST_WORDS || wordCount(current) + wordCount(text) > MOST_WORDS;
    // Code belongs to the words before it, so it may make a passage longer than it should be.
    if (current !== '' && isFull && kind !== 'code') {
      texts.push(current);
      current = '';
    }
    current = current === '' ? text : `${current}\n\n${text}`;
  }
  return current === '' ? texts : [...texts, current];
}

/** A heading without its marks of emphasis and links. */
function plain(heading: string): string {
  return heading.replace(/[`*]/g, '').replace(/\[([^\]]*)\]\([^)]*\)/g, '$1');
}
