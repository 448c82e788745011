import fc from 'fast-check';
import { expect, it } from 'vitest';
import { passagesOf } from './passages.ts';
import { wordCount } from './words.ts';

const words = (count: number, word = 'word') => Array.from({ length: count }, () => word).join(' ');

it('keeps the headings that a passage lies under, outermost first', () => {
  const [first, second, third] = passagesOf(
    'a.md',
    '# One\n\nx\n\n## Two `code`\n\ny\n\n# [Three](t.md)\n\nz\n',
  );
  expect(first).toEqual({ id: 'a.md#1', file: 'a.md', heading: 'One', text: 'x' });
  expect(second).toMatchObject({ id: 'a.md#2', heading: 'One › Two code', text: 'y' });
  expect(third).toMatchObject({ heading: 'Three', text: 'z' });
});

it('joins short paragraphs and lets full ones stand alone', () => {
  const texts = passagesOf('a.txt', [words(20), words(25), words(50), words(80)].join('\n\n')).map(
    (p) => p.text,
  );
  expect(texts.map(wordCount)).toEqual([45, 50, 80]);
});

it('cuts a long paragraph between its sentences', () => {
  const sentence = `A${words(30)}. `;
  const texts = passagesOf('a.txt', sentence.repeat(6)).map((p) => p.text);
  expect(texts.map(wordCount)).toEqual([90, 90]);
  for (const text of texts) expect(text).toMatch(/\.$/);
});

it('cuts between sentences also where the lines of a paragraph end within them', () => {
  const texts = passagesOf('a.md', `A ${words(40)}\n${words(20)}. `.repeat(3)).map((p) => p.text);
  for (const text of texts) expect(text).toMatch(/^A [^]*\.$/);
});

it('cuts a long list between its items, each with all of its lines', () => {
  const items = Array.from({ length: 9 }, (_, at) => `- item ${at} ${words(20)}\n  and ${words(10)}.`);
  for (const { text } of passagesOf('a.md', items.join('\n'))) expect(text).toMatch(/^- item [^]*\.$/);
});

it('cuts a long table between its rows', () => {
  const rows = Array.from({ length: 60 }, (_, row) => `| ${row} | some more words |`);
  for (const { text } of passagesOf('a.md', rows.join('\n'))) {
    for (const line of text.split('\n')) expect(rows).toContain(line);
  }
});

it('reads a heading inside a code block as code, and keeps the code with the words before it', () => {
  const content = `${words(50)}\n\n\`\`\`sh\n# not a heading\n\nrun it\n\`\`\`\n\n${words(50)}\n`;
  const passages = passagesOf('a.md', content);
  expect(passages).toHaveLength(2);
  expect(passages[0]).toMatchObject({
    heading: '',
    text: expect.stringContaining('# not a heading\n\nrun it'),
  });
});

it('takes a code block that never ends as code to the end', () => {
  expect(passagesOf('a.md', '```\n# code\n')).toMatchObject([{ heading: '', text: '```\n# code' }]);
});

it('finds nothing in nothing', () => {
  expect(passagesOf('a.md', '\uFEFF\n\n# Only a heading\n')).toEqual([]);
});

it('loses no word of a plain text and makes no passage longer than 110 words', () => {
  const paragraph = fc
    .array(fc.stringMatching(/^[a-z]{1,6}[.!?]?$/), { maxLength: 300 })
    .map((ws) => ws.join(' '));
  fc.assert(
    fc.property(fc.array(paragraph, { maxLength: 6 }), (paragraphs) => {
      const content = paragraphs.join('\n\n');
      const texts = passagesOf('a.txt', content).map((p) => p.text);
      expect(texts.join(' ').match(/\S+/g) ?? []).toEqual(content.match(/\S+/g) ?? []);
      for (const text of texts) expect(wordCount(text)).toBeLessThanOrEqual(110);
    }),
  );
});
