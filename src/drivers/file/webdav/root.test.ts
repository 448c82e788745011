import { describe, expect, it } from 'vitest';
import { Root } from './root.ts';

describe('the root of an endpoint', () => {
  it('encodes every name once', () => {
    const root = new Root('https://dav.example:8443/a%20b/ö/');
    expect(root.target('')).toBe('/a%20b/%C3%B6/');
    expect(root.folderTarget('')).toBe('/a%20b/%C3%B6/');
    expect(root.target('x y/100%.txt')).toBe('/a%20b/%C3%B6/x%20y/100%25.txt');
    expect(root.folderTarget('#?')).toBe('/a%20b/%C3%B6/%23%3F/');
    expect(root.url('+&')).toBe('https://dav.example:8443/a%20b/%C3%B6/%2B%26');
    expect(new Root('http://dav.example').target('a')).toBe('/a');
    expect(new Root('http://dav.example//').folderTarget('')).toBe('/');
  });

  const root = new Root('https://dav.example/a%20b/%C3%B6');
  const inside: Readonly<Record<string, string>> = {
    '/a%20b/%C3%B6/': '',
    '/a%20b/%c3%b6': '',
    '/a b/ö/x': 'x',
    '/a%20b/%C3%B6/x%20y/': 'x y',
    '/a%20b/%C3%B6/x/100%25.txt': 'x/100%.txt',
    '/a%20b/%C3%B6/a%2520b': 'a%20b',
    'https://dav.example/a%20b/%C3%B6/x': 'x',
    'http://internal:81/a%20b/%C3%B6/x': 'x',
  };
  for (const [href, path] of Object.entries(inside))
    it(`reads ${href}, decoded once`, () => expect(root.pathOf(href)).toBe(path));

  const outside = [
    ...['/', '/a%20b', '/a%20b/x', '/a%20b/%C3%B6x', '/A%20B/%C3%B6/x', '/a%2520b/%C3%B6/x'],
    ...['/a%20b/%C3%B6/../x', '/a%20b/%C3%B6/%2e%2e/x', '/a%20b/%C3%B6/./x', '/a%20b/%C3%B6//x'],
    ...[
      '/a%20b/%C3%B6/x%2Fy',
      '/a%20b/%C3%B6/100%.txt',
      '/a%20b/%C3%B6/%ff',
      '/a%20b/%C3%B6/x?y',
      '/a%20b/%C3%B6/x#y',
    ],
    ...['//evil/a%20b/%C3%B6/x', 'x', '', 'https://dav.example', 'javascript:/a%20b/%C3%B6/x'],
  ];
  for (const href of outside) it(`ignores ${href}`, () => expect(root.pathOf(href)).toBeUndefined());
});
