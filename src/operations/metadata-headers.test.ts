import fc from 'fast-check';
import { expect, it } from 'vitest';
import { metadataHeaders, metadataInHeaders } from './metadata-headers.ts';

const text = fc.string({ unit: 'grapheme' }).filter((value) => value.isWellFormed());
const name = fc.stringMatching(/^[a-z_][a-z0-9_]{0,20}$/);

it('carries any metadata through headers of plain ASCII', () => {
  fc.assert(
    fc.property(fc.dictionary(name, text, { minKeys: 1, noNullPrototype: true }), (metadata) => {
      const headers = metadataHeaders(metadata);
      for (const value of Object.values(headers)) expect(value).toMatch(/^[ -~]*$/);
      expect(metadataInHeaders(Object.entries(headers))).toEqual(metadata);
    }),
  );
});

it('reads what a shell sends: any case, and UTF-8 as it is', () => {
  const asNodeReadsIt = Buffer.from('Zoë 漢').toString('latin1');
  const headers = Object.entries({ 'X-Meta-First-Name': asNodeReadsIt, 'x-meta-share': '100%', accept: '*' });
  expect(metadataInHeaders(headers)).toEqual({ first_name: 'Zoë 漢', share: '100%' });
  expect(metadataInHeaders([['accept', '*']])).toBeUndefined();
});

it('leaves out a name that no header can have, and keeps one that objects inherit', () => {
  expect(metadataHeaders({ 'two words': 'x', ok: 'y' })).toEqual({ 'x-meta-ok': 'y' });
  const own = metadataInHeaders([['x-meta---proto--', 'v']]);
  expect(Object.entries(own ?? {})).toEqual([['__proto__', 'v']]);
});
