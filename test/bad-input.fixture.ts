import type { ErrorCode } from '../src/errors/codes.ts';
import type { Asking } from './server/harness.ts';

/** One request that is refused, and how. */
export type Row = {
  readonly what: string;
  readonly call: (ids: Readonly<Record<'vector' | 'file' | 'serverless', string>>) => string;
  readonly asking?: Asking;
  readonly code: ErrorCode;
  readonly path: string;
  readonly expected: RegExp;
  readonly status?: number;
};

/** Bodies of one operation on the functions, each with the field that is wrong. */
const bodies = (
  method: string,
  rest: string,
  wrong: readonly (readonly [what: string, body: unknown, path: string, expected: RegExp])[],
): readonly Row[] =>
  wrong.map(([what, body, path, expected]) => ({
    what: `${what} for ${method} ${rest}`,
    call: ({ serverless }) => `${method} /connectors/${serverless}/${rest}`,
    ...{ asking: { body }, code: 'invalid_argument', path, expected },
  }));

/** What is refused of functions and their invocations. */
export const FUNCTION_ROWS: readonly Row[] = [
  ...bodies('PUT', 'functions/echo', [
    ['neither code, files nor a version', {}, 'code', /exactly one of them/],
    ['code and a version', { code: 'x', version: '1' }, 'code', /exactly one of them/],
    ['empty code', { code: '' }, 'code', /./],
    ['code that is a list', { code: ['x'] }, 'code', /string/],
    ['a file name that is a number', { code: 'x', filename: 1 }, 'filename', /string/],
    ['files that are a list', { files: [] }, 'files', /record|object/],
    ['a file that is a number', { files: { 'a.ts': 1 } }, 'files.a.ts', /string/],
    ['a version that is a number', { version: 1 }, 'version', /string/],
    ['a version of 65 characters', { version: '1'.repeat(65) }, 'version', /64/],
    ['a path of this machine', { path: '/etc/passwd' }, 'path', /not a known field/],
  ]),
  ...bodies('POST', 'functions/echo/invocations', [
    ['a time limit that is negative', { timeout_seconds: -1 }, 'timeout_seconds', /./],
    ['a time limit beyond the platform', { timeout_seconds: 61 }, 'timeout_seconds', /at most 60/],
    ['a time limit beyond any', { timeout_seconds: 901 }, 'timeout_seconds', /900/],
    ['an empty key', { idempotency_key: '' }, 'idempotency_key', /./],
    ['a key of 257 characters', { idempotency_key: 'k'.repeat(257) }, 'idempotency_key', /256/],
    ['async as a text', { async: 'yes' }, 'async', /boolean/],
    ['an unknown field', { callback_url: 'https://example.com' }, 'callback_url', /not a known field/],
  ]),
  ...(
    [
      ['invocations?status=gone', 'status', /queued/],
      ['invocations?since=yesterday', 'since', /./],
      ['invocations?until=2026-02-30T00:00:00Z', 'until', /./],
      ['invocations?limit=0', 'limit', /1/],
      ['invocations?limit=1001', 'limit', /1000/],
      ['invocations?cursor=mine', 'cursor', /is one that a listing answered/],
      ['invocations?function=..%2fecho', 'function', /./],
      ['invocations/x?wait=61', 'wait', /60/],
      ['invocations/x?wait=-1', 'wait', /0/],
      ['invocations/x?wait=long', 'wait', /number/],
      [`invocations/${'x'.repeat(129)}`, 'request_id', /128/],
      ['functions/echo/logs?limit=1001', 'limit', /1000/],
      ['functions/..%2fecho/logs', 'name', /./],
    ] as const
  ).map(([rest, path, expected]): Row => ({
    what: `GET ${rest}`.slice(0, 60),
    call: ({ serverless }) => `GET /connectors/${serverless}/${rest}`,
    ...{ code: 'invalid_argument', path, expected },
  })),
  ...(
    [
      [{ max_concurrency: 0 }, 'max_concurrency', /1/],
      [{ max_concurrency: 1_001 }, 'max_concurrency', /1000/],
      [{ max_concurrency: 1.5 }, 'max_concurrency', /int/],
      [{ result_ttl_seconds: 59 }, 'result_ttl_seconds', /60/],
      [{ result_ttl_seconds: 30 * 86_400 + 1 }, 'result_ttl_seconds', /2592000/],
      [{ idempotent_functions: 'echo' }, 'idempotent_functions', /array/],
      [{ idempotent_functions: [''] }, 'idempotent_functions[0]', /./],
      [{ region: '' }, 'region', /./],
      [{ vector_dimension: 3 }, 'vector_dimension', /not a known field/],
    ] as const
  ).map(([fields, path, expected]): Row => ({
    what: `functions with ${JSON.stringify(fields)}`,
    call: () => 'POST /connectors',
    asking: { body: { connector_type: 'serverless', name: 'new', ...fields } },
    ...{ code: 'invalid_argument', path, expected },
  })),
  {
    what: 'a result of nobody',
    call: ({ serverless }) => `GET /connectors/${serverless}/invocations/none?wait=60`,
    ...{ code: 'not_found', path: '', expected: /no such invocation/, status: 404 },
  },
];
