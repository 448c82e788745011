import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkedMetadata, fromHeaderValue, headerValue } from './metadata.ts';

describe('metadata in headers', () => {
  it('comes back as it was, and is visible ASCII without a blank at either end on the way', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (value) => {
        fc.pre(value.isWellFormed());
        const sent = headerValue(value);
        expect(sent).toMatch(/^(?:[!-~](?:[ -~]*[!-~])?)?$/);
        expect(fromHeaderValue(sent)).toBe(value);
      }),
      { examples: [[' '], ['  '], ['100%'], ['%41'], ['a\r\nb: c'], ['é😀'], ['\0']] },
    );
  });

  it('leaves ordinary text and what others wrote readable', () => {
    expect(headerValue('plain text, "quoted"')).toBe('plain text, "quoted"');
    expect(fromHeaderValue('100%')).toBe('100%');
  });
});

describe('what metadata may be', () => {
  it.each([
    [{ Upper: 'x' }, 'metadata.Upper'],
    [{ '1st': 'x' }, 'metadata.1st'],
    [{ 'a-b': 'x' }, 'metadata.a-b'],
    [{ ['n'.repeat(65)]: 'x' }, `metadata.${'n'.repeat(65)}`],
    [{ a: 1 }, 'metadata.a'],
    [{ a: '\ud800' }, 'metadata.a'],
    [{ a: 'x'.repeat(2048) }, 'metadata'],
    [{ a: 'é'.repeat(342) }, 'metadata'],
    [[], 'metadata'],
    ['text', 'metadata'],
  ])('refuses %j by its field', (metadata, path) => {
    expect(() => checkedMetadata(metadata as never)).toThrow(
      expect.objectContaining({ code: 'invalid_argument', issues: [expect.objectContaining({ path })] }),
    );
  });

  it('takes 2,048 bytes, and copies them', () => {
    const given = { a: 'x'.repeat(2047) };
    const checked = checkedMetadata(given);
    given.a = '';
    expect(checked['a']).toHaveLength(2047);
  });
});
