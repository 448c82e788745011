import { describe, expect, it } from 'vitest';
import { ConnectorError } from '../errors/error.ts';
import { errorLine, facts, readable, table, wrapped } from './print.ts';
import { plain, shellWord } from './terminal.ts';

describe('table', () => {
  it('aligns columns and shows what is absent as a dash', () => {
    expect(
      table(
        ['NAME', 'N'],
        [
          ['a', 1],
          ['longer', undefined],
        ],
      ),
    ).toBe('NAME    N\na       1\nlonger  -');
  });

  it('keeps each row on one line, whatever a name holds', () => {
    expect(table(['NAME'], [['a\n\u001B[31mb\u202E']])).toBe('NAME\na \uFFFD[31mb\uFFFD');
  });
});

it('leaves facts out that are absent', () => {
  expect(
    facts([
      ['a', 1],
      ['bcd', null],
      ['ef', 'x'],
    ]),
  ).toBe('a   1\nef  x');
});

it('wraps between words, keeps line ends and indents every line', () => {
  expect(wrapped('aaaa bbbb cccc dddd eeee\nff', 22, '  ')).toBe('  aaaa bbbb cccc dddd\n  eeee\n  ff');
  expect(wrapped('x'.repeat(45), 20)).toBe(`${'x'.repeat(20)}\n${'x'.repeat(20)}\n${'x'.repeat(5)}`);
});

describe('readable', () => {
  it('joins the lines of a paragraph and drops marks', () => {
    expect(readable('**Bold** and `code`\nwith a [link](x.md).\n\nNext')).toBe(
      'Bold and code with a link.\n\nNext',
    );
  });

  it('keeps lists, tables and code', () => {
    expect(readable('- one\n  more\n- two')).toBe('- one more\n- two');
    expect(readable('| a   | b |\n| --- | --- |\n| 1   | 2 |')).toBe('| a | b |\n| 1 | 2 |');
    expect(readable('text\n```sh\na `b`\n\nc\n```')).toBe('text\n    a `b`\n    \n    c');
  });
});

describe('errorLine', () => {
  it('is one line with the code and what to do', () => {
    const error = new ConnectorError('not_found', 'there is no\nconnector "x"');
    expect(errorLine(error, { command: 'connectors' })).toBe(
      'error: there is no connector "x"; see `connectors list` (not_found)',
    );
  });

  it('says when to come back', () => {
    const error = new ConnectorError('rate_limited', 'too many requests', { retryAfterMs: 1500 });
    expect(errorLine(error, { command: 'connectors' })).toBe(
      'error: too many requests; try again in 2 s (rate_limited)',
    );
  });
});

it('neutralises what would control a terminal, and keeps text as it is', () => {
  expect(plain('a\u0007b\u009Bc\u2066d')).toBe('a\uFFFDb\uFFFDc\uFFFDd');
  expect(plain('Zürich\t東京\n')).toBe('Zürich\t東京\n');
});

it.each([
  ['plain-1.txt', 'plain-1.txt'],
  ["it's", `'it'\\''s'`],
  ['$(x)', `'$(x)'`],
  ['', `''`],
])('quotes %j for a shell as %s', (word, quoted) => {
  expect(shellWord(word)).toBe(quoted);
});
