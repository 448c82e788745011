import { expect, it } from 'vitest';
import { httpOptions } from './options.ts';

const endpoint = 'https://jobs.example/run';
const table = (functions: Record<string, string>) => ({ endpoint, functions });

it.each([
  { endpoint },
  { endpoint: 'http://10.0.0.1:8080' },
  { endpoint: `${endpoint}?kind=a` },
  table({ a: '/a', 'b.c:d': 'https://other.example/x?y=1' }),
  { functions: { a: 'https://other.example/x' } },
  { ...table({ hello: '/' }), host_template: '{name}.default.example.com' },
  { ...table({ hello: '/' }), host_template: 'f-{name}-x.example.com:8443' },
  { endpoint, health_path: '/healthz' },
  { endpoint, headers: { 'X-Team': 'blue', 'x-partition': '1' } },
  { endpoint, api_key: 'k', api_key_header: 'Authorization' },
  { endpoint, signing_secret: 'x'.repeat(24), signing_secret_previous: 'y'.repeat(24) },
])('takes %j', (options) => {
  expect(httpOptions.safeParse(options).error).toBeUndefined();
});

it.each<readonly [string, object]>([
  ['endpoint', {}],
  ['endpoint', { endpoint: 'ftp://jobs.example' }],
  ['endpoint', { endpoint: 'https://ann:secret@jobs.example' }],
  ['endpoint', { endpoint: 'https://jobs.example/#x' }],
  ['endpoint', { functions: { a: '/a' } }],
  ['endpoint', { functions: { a: 'https://other.example' }, health_path: '/' }],
  ['endpoint', { endpoint: `${endpoint}?a=1`, functions: { a: '/a' } }],
  ['functions', table({})],
  ['functions.a', table({ a: 'a' })],
  ['functions.a', table({ a: '/a b' })],
  ['functions.a', table({ a: '/a#b' })],
  ['functions.a', table({ a: 'https://ann:secret@other.example' })],
  ['functions.a', table({ a: 'https:///' })],
  ['functions.a/b', table({ 'a/b': '/a' })],
  ['functions', table(Object.fromEntries(Array.from({ length: 1001 }, (_, i) => [`f${i}`, '/'])))],
  ['functions', { endpoint, host_template: '{name}.example.com' }],
  ['functions.a', { ...table({ a: 'https://other.example' }), host_template: '{name}.example.com' }],
  ['functions.a.b', { ...table({ 'a.b': '/' }), host_template: '{name}.example.com' }],
  ['functions.A', { ...table({ A: '/' }), host_template: '{name}.example.com' }],
  ['host_template', { ...table({ a: '/' }), host_template: 'example.com' }],
  ['host_template', { ...table({ a: '/' }), host_template: 'example.{name}' }],
  ['host_template', { ...table({ a: '/' }), host_template: '{name}' }],
  ['host_template', { ...table({ a: '/' }), host_template: '{name}.a\r\nx: y' }],
  ['method', { endpoint, method: 'GET' }],
  ['health_path', { endpoint, health_path: 'https://other.example' }],
  ...[
    ...['Connection', 'te', 'Transfer-Encoding', 'Upgrade', 'Host', 'Content-Length', 'Content-Type'],
    ...['Authorization', 'Proxy-Authorization', 'Cookie', 'X-Auth-Token', 'x-api-key', 'X-Request-Id'],
    ...['Idempotency-Key', 'X-Signature', 'X-Timestamp', 'X-Client-Secret', 'x-functions-key'],
  ].map((name) => ['headers', { endpoint, headers: { [name]: 'x' } }] as const),
  ['headers', { endpoint, headers: { 'X-A': '1', 'x-a': '2' } }],
  ['headers', { endpoint, headers: { 'X-Mine': '1' }, api_key: 'k', api_key_header: 'x-mine' }],
  ['headers.X-A', { endpoint, headers: { 'X-A': 'a\r\nb: c' } }],
  ['headers.X A', { endpoint, headers: { 'X A': 'a' } }],
  ['api_key', { endpoint, api_key: 'a\nb' }],
  ['api_key_header', { endpoint, api_key: 'k', api_key_header: 'Host' }],
  ['api_key_header', { endpoint, api_key_header: 'X-Key' }],
  ['password', { endpoint, username: 'ann' }],
  ['username', { endpoint, password: 'p' }],
  ['username', { endpoint, username: 'a:b', password: 'p' }],
  ['token_url', { endpoint, client_id: 'c', client_secret: 's' }],
  ['token_url', { endpoint, client_id: 'c', client_secret: 's', token_url: 'http://a.example' }],
  ['scope', { endpoint, scope: 'a' }],
  ['username', { endpoint, api_key: 'k', username: 'ann', password: 'p' }],
  ['signing_secret', { endpoint, signing_secret: 'short' }],
  ['signing_secret_previous', { endpoint, signing_secret_previous: 'x'.repeat(24) }],
  ['', { endpoint, unknown: 1 }],
])('refuses %s in %j', (path, options) => {
  const { error } = httpOptions.safeParse(options);
  expect(error?.issues.map((issue) => issue.path.join('.'))).toContain(path);
  expect(error?.message).not.toContain('secret@');
});
