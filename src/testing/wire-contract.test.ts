import { createRequire } from 'node:module';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { wireContract } from './wire-contract.fixture.ts';

const modules = path.join(path.dirname(createRequire(import.meta.url).resolve('zod/package.json')), '..');
const BODY = ['requestBody', 'content', 'application/json'];
const ANSWER = ['responses', '200', 'content', 'application/json'];

describe("a contract in openapi-typescript's one file", () => {
  const contract = wireContract(
    path.join(modules, '@qdrant/js-client-rest/dist/types/openapi/generated_schema.d.ts'),
  );
  const filtered = (condition: object) => ({ query: [1, 2], limit: 3, filter: { must: [condition] } });

  it('passes a request and an answer as published', () => {
    const request = filtered({
      nested: { key: 'a', filter: { must: [{ key: 'b', match: { any: ['x'] } }] } },
    });
    expect(() => contract.check('query_points', request, BODY)).not.toThrow();
    const answer = { result: { points: [{ id: 1, version: 2, score: 0.5 }] }, status: 'ok', time: 0.1 };
    expect(() => contract.check('query_points', answer, ANSWER)).not.toThrow();
  });

  it.each([
    ['an invented property', { query: [1], limits: 3 }, '/ must NOT have additional properties (limits)'],
    ['a wrong type', { query: [1], limit: '3' }, '/limit must be number'],
    ['an invented condition, deep inside', filtered({ key: 'a', matches: { value: 1 } }), '(matches)'],
    // openapi-typescript reads the schema's `nullable` as "any object", which would let every filter pass.
    ['a filter that is any object', { query: [1], filter: { anything: 1 } }, '/filter must NOT have'],
    ['a filter that is another schema', { query: [1], filter: { id: 1 } }, '/filter must NOT have'],
    ['a missing part', filtered({ nested: { key: 'a' } }), "must have required property 'filter'"],
  ])('refuses %s', (_, request, message) => {
    expect(() => contract.check('query_points', request, BODY)).toThrow(message);
  });

  it('refuses an answer that lacks what is promised', () => {
    const answer = { result: { points: [{ id: 1, version: 2 }] }, status: 'ok', time: 0.1 };
    expect(() => contract.check('query_points', answer, ANSWER)).toThrow(
      "/result/points/0 must have required property 'score'",
    );
  });

  it('holds the answers of an operation that has others without a body', () => {
    const answer = { title: 'a', version: '1.0.0' };
    expect(() => contract.check('root', answer, ANSWER)).not.toThrow();
    expect(() => contract.check('root', { title: 'a' }, ANSWER)).toThrow("required property 'version'");
  });

  it('knows the schemas by name, and no others', () => {
    expect(() => contract.check('Distance', 'Cosine')).not.toThrow();
    expect(() => contract.check('Distance', 'Angle')).toThrow('not Distance as published');
    expect(() => contract.check('Nonsense', {})).toThrow('Nonsense is not a type');
    expect(() => contract.check('query_points', {}, ['requestBodies'])).toThrow('has no requestBodies');
  });
});

describe('a contract in a folder of declarations', () => {
  const contract = wireContract(
    path.join(modules, '@pinecone-database/pinecone/dist/pinecone-generated-ts-fetch/db_data/models/*.d.ts'),
  );

  it('holds values against the exported types', () => {
    expect(() => contract.check('QueryRequest', { topK: 3, vector: [1] })).not.toThrow();
    expect(() => contract.check('QueryRequest', { topK: 3, top: 3 })).toThrow('(top)');
    expect(() => contract.check('QueryRequest', {})).toThrow("required property 'topK'");
    expect(() => contract.check('Nonsense', {})).toThrow('Nonsense');
  });
});
