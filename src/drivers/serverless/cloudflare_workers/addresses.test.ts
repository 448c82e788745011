import { describe, expect, it } from 'vitest';
import { addressesOf } from './addresses.ts';
import { failureOf } from './open.fixture.ts';
import { cloudflareWorkersOptions } from './options.ts';

const of = (options: object) => addressesOf(cloudflareWorkersOptions.parse(options));
const issuesOf = (options: object) =>
  cloudflareWorkersOptions.safeParse(options).error?.issues.map(({ path }) => path.join('.')) ?? [];

describe('where Workers are called', () => {
  it.each([
    [{ subdomain: 'acme' }, 'echo', 'https://echo.acme.workers.dev'],
    [{ endpoint: 'https://{name}.fn.example.com' }, 'echo', 'https://echo.fn.example.com'],
    [{ endpoint: 'https://{name}-staging.acme.workers.dev' }, 'a', 'https://a-staging.acme.workers.dev'],
    [{ endpoint: 'https://example.com/fn/{name}' }, 'a.b:c', 'https://example.com/fn/a.b%3Ac'],
    [{ endpoint: 'http://127.0.0.1:8787/{name}/run' }, '-a', 'http://127.0.0.1:8787/-a/run'],
    [{ functions: { echo: 'https://example.com/x?y=1' } }, 'echo', 'https://example.com/x?y=1'],
    [{ subdomain: 'acme', functions: { a: 'https://b.dev/' } }, 'a', 'https://b.dev/'],
    [{ subdomain: 'acme', functions: { a: 'https://b.dev/' } }, 'b', 'https://b.acme.workers.dev'],
  ])('%j calls %s at %s', (options, name, url) => {
    expect(of(options).urlOf(name)).toBe(url);
  });

  it.each(['a.b', 'a:80', 'evil.example.com', '-a', 'a-', 'a_b', 'x'.repeat(64)])(
    'is no host for a function called %s',
    async (name) => {
      const asked = Promise.resolve(name).then((given) => of({ subdomain: 'acme' }).urlOf(given));
      expect(await failureOf(asked)).toMatchObject({ code: 'invalid_argument', issues: [{ path: 'name' }] });
    },
  );

  it('is nowhere for a function that is not in the table', async () => {
    const asked = Promise.resolve('b').then((name) => of({ functions: { a: 'https://b.dev' } }).urlOf(name));
    expect(await failureOf(asked)).toMatchObject({ code: 'not_found' });
  });

  it('is not looked up in the prototype of the table', async () => {
    const asked = Promise.resolve('constructor').then((name) =>
      of({ functions: { a: 'https://b.dev' } }).urlOf(name),
    );
    expect(await failureOf(asked)).toMatchObject({ code: 'not_found' });
  });

  it.each([
    [{ subdomain: 'acme' }, 'https://connectors-probe.acme.workers.dev'],
    [{ endpoint: 'https://example.com/{name}' }, 'https://example.com/connectors-probe'],
    [{ functions: { a: 'https://b.dev/x' } }, 'https://b.dev/x'],
    [{ endpoint: 'https://{name}.example.com' }, undefined],
  ])('%j is tried at %s', (options, url) => {
    expect(of(options).probe).toBe(url);
  });
});

describe('options that are refused', () => {
  it.each([
    'https://{name}',
    'https://{name}/',
    'https://{name}:443',
    'https://example.com:{name}/',
    'https://a.{name}.example.com',
    'https://example.com/x?y={name}',
    'https://example.com/#{name}',
    'https://{name}@example.com/',
    'https://user:word@example.com/{name}',
    'https://example.com/fn',
    'https://example.com/{name}/{name}',
    'https://{name}.example.com/{name}',
    'https://example.com/a{name}',
    'ftp://example.com/{name}',
    'https://exam ple.com/{name}',
    '{name}',
  ])('endpoint %s', (endpoint) => {
    expect(issuesOf({ endpoint })).toEqual(['endpoint']);
  });

  const api = { account_id: '0'.repeat(32), api_token: 'token' };
  it.each([
    [{}, 'subdomain'],
    [{ subdomain: 'acme.evil' }, 'subdomain'],
    [{ subdomain: 'acme', endpoint: 'https://example.com/{name}' }, 'endpoint'],
    [{ functions: { 'a/b': 'https://example.com' } }, 'functions.a/b'],
    [{ functions: { a: 'file:///etc/passwd' } }, 'functions.a'],
    [{ functions: { a: 'https://user:word@example.com' } }, 'functions.a'],
    [{ subdomain: 'acme', api_key_header: 'x-key' }, 'api_key_header'],
    [{ subdomain: 'acme', api_key: 'k', api_key_header: 'Host' }, 'api_key_header'],
    [{ subdomain: 'acme', api_key: 'k', api_key_header: 'CF-Access-Client-Id' }, 'api_key_header'],
    [{ subdomain: 'acme', api_key: 'k', api_key_header: 'x: y' }, 'api_key_header'],
    [{ subdomain: 'acme', access_client_id: 'id' }, 'access_client_id'],
    [{ subdomain: 'acme', access_client_secret: 'secret' }, 'access_client_id'],
    [{ subdomain: 'acme', api_token: 'token' }, 'account_id'],
    [{ subdomain: 'acme', workflows: ['flow'] }, 'workflows'],
    [{ ...api, account_id: '../user' }, 'account_id'],
    [{ ...api, workflows: ['a/b'] }, 'workflows.0'],
    [{ ...api, api_endpoint: 'https://user@api.cloudflare.com' }, 'api_endpoint'],
    [{ subdomain: 'acme', unknown: 1 }, ''],
  ])('%j', (options, path) => {
    expect(issuesOf(options)).toEqual([path]);
  });

  it('but not an API token alone, for Workflows', () => {
    expect(issuesOf(api)).toEqual([]);
  });
});
