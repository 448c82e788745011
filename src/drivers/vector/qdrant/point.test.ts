import { describe, expect, it } from 'vitest';
import type { Metadata } from '../../../driver.ts';
import { pointId, pointOf, recordOf, valuesOf, vectorOf } from './point.ts';
import { parsedByQdrant } from './qdrant-json.fixture.ts';

describe('the id of a point', () => {
  it('is a UUID of version 5, the same for the same id', () => {
    expect(pointId('a')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(pointId('a')).toBe(pointId('a'));
    expect(pointId('a')).not.toBe(pointId('b'));
    // What is stored is found by it for ever, so it never changes. Python's uuid.uuid5 answers the same.
    expect(pointId('é😀 "1"')).toBe('f8a71092-1557-5843-9b0b-7549ba1e2396');
  });
});

describe('a record', () => {
  const there = (metadata: Metadata, values = [1, 2, 3]) => {
    const { id, payload, vector } = pointOf({ id: 'a', values, metadata }, 'cosine');
    return parsedByQdrant(JSON.stringify({ id, payload, vector })) as Parameters<typeof recordOf>[0];
  };

  it('keeps its metadata as an object for people, and as text that comes back to the last bit', () => {
    const text = '{"z":1,"a":1.5777777777770001,"__proto__":"x","n":{"b":[],"a":null},"big":1e+300}';
    const found = there(JSON.parse(text) as Metadata);
    expect(JSON.stringify(recordOf(found).metadata)).toBe(text);
    // The object has been through Qdrant's parser, which is off by one in the last place.
    expect(found.payload?.['metadata']).toMatchObject({ z: 1, a: 1.577_777_777_777, n: { b: [], a: null } });
  });

  it('of cosine keeps its values beside the normalised vector', () => {
    const values = [3, 0, Math.fround(0.1)];
    const found = there({}, values);
    expect(Math.hypot(...(found.vector ?? []))).toBeCloseTo(1, 6);
    expect(valuesOf(found, 'cosine')).toEqual(values);
  });

  it('of another metric is the vector, read as float32', () => {
    expect(valuesOf({ id: 'a', payload: { id: 'a' }, vector: [0.1, 2] }, 'dot')).toEqual([
      Math.fround(0.1),
      2,
    ]);
  });

  it('that no connector wrote is refused', () => {
    const strange = { id: 7, payload: { name: 'x' }, vector: [1] };
    expect(() => recordOf(strange)).toThrow(
      expect.objectContaining({ code: 'backend_error', message: expect.stringContaining('the point 7') }),
    );
    expect(() => recordOf({ ...strange, payload: { id: 'a', json: '{' } })).toThrow('not JSON');
    expect(() => valuesOf({ ...strange, payload: { id: 'a' } }, 'cosine')).toThrow('has no values');
  });
});

describe('a vector under cosine', () => {
  it.each([1e-6, 1, 1e25])('times %d is sent with the length 1', (scale) => {
    const sent = vectorOf([3 * scale, 4 * scale], 'cosine');
    expect(sent[0]).toBeCloseTo(0.6, 6);
    expect(sent[1]).toBeCloseTo(0.8, 6);
  });
});
