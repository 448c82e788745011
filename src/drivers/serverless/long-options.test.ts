import { expect, it } from 'vitest';
import type { z } from 'zod';
import { cloudflareWorkersOptions } from './cloudflare_workers/options.ts';
import { azureFunctionsOptions } from './azure_functions/options.ts';
import { gcpFunctionsOptions } from './gcp_functions/options.ts';
import { lambdaOptions } from './aws_lambda/options.ts';

// What takes the slashes off its end would take seconds for a hundred thousand, and a request may have a million.
const long = `https://example.com${'/'.repeat(2_100)}x`;
const azure = { endpoint: 'https://app.example.com' };
const lambda = {
  ...{ region: 'eu-west-1', access_key_id: 'a', secret_access_key: 'b' },
  role_arn: 'arn:aws:iam::1:role/r',
};

type Row = readonly [string, z.ZodType, Readonly<Record<string, unknown>>, string];

it.each<Row>([
  ['api_endpoint of cloudflare_workers', cloudflareWorkersOptions, { subdomain: 'acme' }, 'api_endpoint'],
  ['an address of cloudflare_workers', cloudflareWorkersOptions, {}, 'functions.f'],
  ['management_endpoint of azure_functions', azureFunctionsOptions, azure, 'management_endpoint'],
  ['authority_host of azure_functions', azureFunctionsOptions, azure, 'authority_host'],
  ['token_endpoint of gcp_functions', gcpFunctionsOptions, azure, 'token_endpoint'],
  ['api_endpoint of gcp_functions', gcpFunctionsOptions, azure, 'api_endpoint'],
  ['sts_endpoint of aws_lambda', lambdaOptions, lambda, 'sts_endpoint'],
  ['endpoint of aws_lambda', lambdaOptions, lambda, 'endpoint'],
])('takes no address of more than 2,048 characters for %s', (_what, schema, options, path) => {
  const [key = '', inner] = path.split('.');
  const given = (url: string) => ({ ...options, [key]: inner === undefined ? url : { [inner]: url } });
  expect(schema.safeParse(given('https://example.com')).error?.issues).toBeUndefined();
  const { error } = schema.safeParse(given(long));
  expect(error?.issues.map((issue) => [issue.path.join('.'), issue.code])).toContainEqual([path, 'too_big']);
});
