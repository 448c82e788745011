import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isConnectorError } from '../../errors/error.ts';
import { parseWith } from '../../contract/validate.ts';
import { ATTACKS } from '../../testing/file-attacks.ts';
import { filePath, pathProblem } from './path.ts';
import { fileSettings } from './schema.ts';

const LEGAL = [
  '100%.txt',
  'a%20b',
  '50%',
  '%',
  '%%',
  'a%2eb',
  '%41',
  'a%zz',
  '..a',
  'a..',
  '...',
  'a/...',
  '.a',
  'a.',
  '. .',
  ' ',
  'a b',
  '#?&+',
  '~',
  '-',
  'C:',
  'a:b',
  '\uff11\uff0f\uff12',
  '\u2026',
  '%e3%81%82',
  '\u00bd',
  'caf\u00e9',
  'cafe\u0301',
  '\u{1f600}',
  '__proto__',
  'a\tb',
  'line\nend',
  '\u202e',
  'a;b',
  ';..',
  '100%c3%a9',
];

describe('the path rule', () => {
  it(`refuses every one of at least 250 spellings that lead elsewhere`, () => {
    expect(ATTACKS.length).toBeGreaterThanOrEqual(250);
    const accepted = ATTACKS.filter((path) => isAccepted(path));
    expect(accepted).toEqual([]);
  });

  it('names the field and what was expected', () => {
    const refused = {
      code: 'invalid_argument',
      issues: [{ path: 'from', message: 'has no . or .. segment' }],
    };
    expect(() => filePath('a/../b', { field: 'from' })).toThrow(expect.objectContaining(refused));
  });

  it('takes odd names as they are', () => {
    for (const path of LEGAL) expect(filePath(path)).toBe(path);
    for (const path of LEGAL) expect(filePath(`/folder/${path}`)).toBe(`folder/${path}`);
  });

  it('accepts one leading slash as the root, and a trailing one on folders alone', () => {
    expect(filePath('/a/b')).toBe('a/b');
    for (const path of ['', '/']) expect(filePath(path, { allowRoot: true })).toBe('');
    expect(filePath('/a/', { allowRoot: true })).toBe('a');
    for (const path of ['', '/', 'a/', '//a', 'a//']) expect(isAccepted(path)).toBe(false);
    for (const path of ['//', 'a//', '//a/']) expect(pathProblemOfFolder(path)).toBe('has no empty segment');
  });

  it('counts UTF-8 bytes: 1,024 in all, 255 in a segment', () => {
    const long = (bytes: number) => 'n'.repeat(bytes);
    expect(isAccepted(long(255))).toBe(true);
    expect(isAccepted(long(256))).toBe(false);
    expect(isAccepted('é'.repeat(127))).toBe(true);
    expect(isAccepted('é'.repeat(128))).toBe(false);
    const path = `${long(203)}/`.repeat(5);
    expect(isAccepted(path + long(4))).toBe(true);
    expect(isAccepted(path + long(5))).toBe(false);
  });

  it('leaves a path that it accepts alone, and it stays below its folder when a URL is made of it', () => {
    const piece = fc.constantFrom(
      '.',
      '..',
      '/',
      '%',
      '2e',
      '25',
      '2f',
      'a',
      '\uff0e',
      '\uff0f',
      '\t',
      ';',
      ' ',
      '\\',
      '\0',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const path = pieces.join('');
        if (!isAccepted(path) || path.startsWith('/')) return;
        expect(filePath(path)).toBe(path);
        expect(new URL(`http://host/base/${path}`).pathname).toMatch(/^\/base\//);
        expect(path.split('/')).not.toContain('..');
      }),
      { numRuns: 5000 },
    );
  });

  it('is quick about hostile input of any length', () => {
    const startMs = performance.now();
    for (const path of [
      '%'.repeat(1e6),
      '%25'.repeat(341),
      '../'.repeat(1e5),
      '\uff0e'.repeat(341),
      '%2'.repeat(512),
    ]) {
      pathProblem(path);
    }
    expect(performance.now() - startMs).toBeLessThan(200);
  });
});

describe('the settings of a file connector', () => {
  it('hold a canonical base path, the root by default', () => {
    expect(parseWith(fileSettings, {})).toEqual({ base_path: '' });
    expect(parseWith(fileSettings, { base_path: '/' })).toEqual({ base_path: '' });
    expect(parseWith(fileSettings, { base_path: '/docs/2026/' })).toEqual({ base_path: 'docs/2026' });
  });

  it('refuse a base path that the path rule refuses, and unknown fields', () => {
    for (const base_path of ['..', 'a/../b', '%2e%2e', 'a//b', 7]) {
      expect(() => parseWith(fileSettings, { base_path })).toThrow(
        expect.objectContaining({ issues: [expect.objectContaining({ path: 'base_path' })] }),
      );
    }
    expect(() => parseWith(fileSettings, { root: '/' })).toThrow('root: is not a known field');
  });
});

function isAccepted(path: string): boolean {
  try {
    filePath(path);
    return true;
  } catch (error) {
    if (!isConnectorError(error)) throw error;
    return false;
  }
}

function pathProblemOfFolder(path: string): string | undefined {
  try {
    filePath(path, { allowRoot: true });
  } catch (error) {
    if (isConnectorError(error)) return error.issues[0]?.message;
    throw error;
  }
  return undefined;
}
