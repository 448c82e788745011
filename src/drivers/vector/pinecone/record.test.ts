import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Metadata } from '../../../driver.ts';
import { fromPinecone, fromPineconeId, isDigest, toPinecone, toPineconeId } from './record.ts';

const anyId = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 60 }).filter((id) => id.isWellFormed());

describe('an id', () => {
  it('is ASCII to Pinecone, at most 512 of it, and comes back', () => {
    const odd = [
      '%',
      '%41',
      'A',
      'a b',
      '\n',
      'é',
      'e\u0301',
      '😀',
      '__proto__',
      '%sha256:x',
      '\u007f',
      '\0',
      '.',
      '..',
    ];
    fc.assert(
      fc.property(fc.oneof(anyId, fc.constantFrom(...odd)), (id) => {
        const encoded = toPineconeId(id);
        expect(encoded).toMatch(/^[\x21-\x7e]{1,512}$/);
        expect(fromPineconeId(encoded, toPinecone({ id, values: [1] }).metadata)).toBe(id);
      }),
      { numRuns: 1_000 },
    );
    expect(new Set(odd.map(toPineconeId)).size).toBe(odd.length);
  });

  it('is left alone where it is plain, and a digest where it grows too long', () => {
    expect(toPineconeId('doc-1#chunk_2')).toBe('doc-1#chunk_2');
    const long = 'é'.repeat(512);
    const { id, metadata } = toPinecone({ id: long, values: [1] });
    expect(isDigest(id)).toBe(true);
    expect(metadata).toEqual({ terms: ['*'], id: long });
    expect(fromPinecone({ id, values: [1], metadata })).toEqual({ id: long, values: [1] });
    expect(toPinecone({ id: 'a', values: [1] }).metadata).toEqual({ terms: ['*'] });
  });

  it('that somebody else wrote is read as it is', () => {
    expect(fromPineconeId('50%')).toBe('50%');
    expect(fromPineconeId('%sha256:gone')).toBe('%sha256:gone');
  });
});

describe('a record', () => {
  it('has fields of ours alone, and comes back as it was', () => {
    const metadata = JSON.parse(
      '{"terms":["x"],"metadata":{"text":null},"n:a":1,"a":1.5,"$b":true,"__proto__":{"c":[]}}',
    ) as Metadata;
    const record = { id: 'a', values: [0.5, -1], metadata, text: '' };
    const stored = toPinecone(record);
    expect(Object.keys(stored.metadata)).toEqual(['terms', 'n:n:a', 'n:a', 'metadata', 'text']);
    expect(JSON.stringify(fromPinecone(stored))).toBe(
      JSON.stringify({ id: 'a', values: record.values, metadata, text: '' }),
    );
  });

  it('has the float32 that was stored, in however few digits Pinecone writes it', () => {
    expect(fromPinecone({ id: 'a', values: [0.1, 0.632687092] }).values).toEqual(
      [0.1, 0.632687092].map(Math.fround),
    );
  });
});
