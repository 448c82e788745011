import { expect, it } from 'vitest';
import { operations } from '../../src/operations/index.ts';
import { openApiDocument } from '../../src/server/index.ts';
import { testServer } from './harness.ts';

type Json = { readonly [key: string]: unknown };
type Parameter = {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly schema: Json;
};
type Described = {
  readonly operationId: string;
  readonly summary: string;
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly content: Json };
  readonly responses: Json;
};
type Document = {
  readonly openapi: string;
  readonly info: Json;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
  readonly components: { readonly schemas: Json };
};

// The document is made by our own function; the test reads it as whoever downloads it would.
const document = JSON.parse(JSON.stringify(openApiDocument(operations))) as Document;
const described = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
);

it('is OpenAPI 3.1 with a description of every operation, on its path and method', () => {
  expect(document.openapi).toMatch(/^3\.1\./);
  expect(document.info).toMatchObject({
    title: expect.any(String),
    version: expect.stringMatching(/^\d+\.\d+\.\d+/),
  });
  const routes = new Set(described.map(({ path, method }) => `${method} ${path}`));
  const wanted = operations.map(
    ({ method, path }) => `${method.toLowerCase()} /api/v1${path.replace('+}', '}')}`,
  );
  expect(wanted.filter((route) => !routes.has(route))).toEqual([]);
});

it('names each operation once', () => {
  const ids = described.map(({ operation }) => operation.operationId);
  expect(new Set(ids).size).toBe(ids.length);
});

it.each(described)(
  '$method $path declares its parameters, body and answers',
  ({ path, method, operation }) => {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    const { parameters, responses, requestBody } = operation;
    expect(parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name)).toEqual(inPath);
    expect(parameters.filter((parameter) => parameter.in === 'path').every(({ required }) => required)).toBe(
      true,
    );
    const keys = parameters.map((parameter) => `${parameter.in} ${parameter.name}`);
    expect(new Set(keys).size).toBe(keys.length);
    expect(operation.summary).toMatch(/\.$/);
    expect(Object.keys(responses).every((status) => /^(?:[2-5]\d\d|default)$/.test(status))).toBe(true);
    expect(responses['default']).toBeDefined();
    if (method === 'get' || method === 'head' || method === 'delete') expect(requestBody).toBeUndefined();
  },
);

it('refers only to components that it holds', () => {
  const refs = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref = '']) => ref);
  const known = Object.keys(document.components.schemas).map((name) => `#/components/schemas/${name}`);
  expect(refs.length).toBeGreaterThan(20);
  expect(refs.filter((ref) => !known.includes(ref))).toEqual([]);
});

it('shows both ways to write vectors', () => {
  const { requestBody } = document.paths['/api/v1/connectors/{connector_id}/vectors']?.['post'] ?? {};
  expect(Object.keys(requestBody?.content ?? {})).toEqual(['application/json', 'application/x-ndjson']);
});

it('marks no field of an answer or a request with a secret that it would show', () => {
  expect(JSON.stringify(document)).not.toMatch(/"writeOnly":true/);
});

it('is served as it is, without a key', async () => {
  const server = await testServer();
  const answer = await server.ask('GET //openapi.json', { key: '' });
  expect(answer.status).toBe(200);
  expect(answer.json).toEqual(document);
});

it('has a page that loads nothing from elsewhere and runs nothing inline', async () => {
  const server = await testServer();
  const page = await server.ask('GET //docs/', { key: '' });
  expect(page.status).toBe(200);
  expect(page.headers['content-security-policy']).toMatch(
    /default-src 'none'; script-src 'self'; style-src 'self'/,
  );
  const sources = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, source = '']) => source);
  expect(sources.length).toBeGreaterThan(2);
  for (const source of sources) {
    expect(source).not.toMatch(/^(?:https?:)?\/\//);
    const url = new URL(source, 'http://x/docs/').pathname;
    expect([source, (await server.app.inject({ url, headers: { host: 'localhost' } })).statusCode]).toEqual([
      source,
      200,
    ]);
  }
  expect(page.text).not.toMatch(/<script(?![^>]*src=)[^>]*>[^<]/);
});
