import { describe, expect, it } from 'vitest';
import { ConnectorError } from '../errors/error.ts';
import { connectionFailure, grpcFailure, httpFailure, networkFailure, quoted } from './backend-error.ts';

const coded = (code: string, message = 'said', cause?: unknown): Error =>
  Object.assign(new Error(message, cause === undefined ? undefined : { cause }), { code });

describe('a failure of the connection', () => {
  it.each([
    ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'].map(
      (code) => [code, 'unavailable'] as const,
    ),
    ...['UND_ERR_SOCKET', 'UND_ERR_CLOSED', 'UND_ERR_DESTROYED'].map(
      (code) => [code, 'unavailable'] as const,
    ),
    ...['ETIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'].map(
      (code) => [code, 'timeout'] as const,
    ),
  ])('%s is %s', (code, expected) => {
    const cause = coded(code);
    const wrapped = new TypeError('fetch failed', { cause });
    expect(connectionFailure(cause)).toMatchObject({ code: expected, cause });
    expect(connectionFailure(wrapped)).toMatchObject({ code: expected, cause: wrapped });
    expect(connectionFailure(wrapped)?.message).toContain(code);
  });

  it.each([
    ...['DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
    ...['CERT_HAS_EXPIRED', 'ERR_TLS_CERT_ALTNAME_INVALID', 'ERR_SSL_WRONG_VERSION_NUMBER', 'EPROTO'],
    'HOSTNAME_MISMATCH',
  ])('%s is unavailable, and TLS is named', (code) => {
    expect(connectionFailure(new TypeError('fetch failed', { cause: coded(code) }))).toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(`^the TLS connection was refused \\(${code}\\)`),
      details: { backend_code: code },
    });
  });

  it('repeats what the check of a certificate said, and not what OpenSSL did about its source files', () => {
    expect(connectionFailure(coded('CERT_HAS_EXPIRED', 'certificate has expired'))?.message).toBe(
      'the TLS connection was refused (CERT_HAS_EXPIRED): certificate has expired',
    );
    const inside = '40B7:error:0A00010B:SSL routines:wrong version number:../ssl/record.c:77:';
    expect(connectionFailure(coded('ERR_SSL_WRONG_VERSION_NUMBER', inside))?.message).toBe(
      'the TLS connection was refused (ERR_SSL_WRONG_VERSION_NUMBER)',
    );
  });

  it('is the first of several where several addresses were tried', () => {
    const all = new AggregateError([coded('ECONNREFUSED'), coded('ETIMEDOUT')], 'all failed');
    expect(connectionFailure(new TypeError('fetch failed', { cause: all }))).toMatchObject({
      code: 'unavailable',
    });
  });

  it('is an error of ours unchanged, however deep a client has wrapped it', () => {
    const denied = new ConnectorError('egress_denied', 'no');
    const wrapped = new Error('a', { cause: new TypeError('fetch failed', { cause: denied }) });
    expect(connectionFailure(wrapped)).toBe(denied);
    expect(networkFailure(wrapped)).toBe(denied);
  });

  it.each([
    undefined,
    null,
    'ECONNREFUSED',
    7,
    {},
    new Error('x'),
    coded('ERR_INVALID_ARG_TYPE'),
    { code: 7 },
  ])('is nothing else: %s', (error) => {
    expect(connectionFailure(error)).toBeUndefined();
  });

  it('ends its search where causes go round in a circle', () => {
    const error = new Error('a');
    error.cause = error;
    expect(connectionFailure(error)).toBeUndefined();
    expect(networkFailure(error)).toMatchObject({ code: 'backend_error', cause: error });
  });
});

describe('networkFailure', () => {
  it('is the end of the call first: the reason that is an error of ours, or cancelled', () => {
    const reason = new ConnectorError('timeout', 'too long');
    expect(networkFailure(coded('ECONNRESET'), AbortSignal.abort(reason))).toBe(reason);
    expect(networkFailure(coded('ECONNRESET'), AbortSignal.abort())).toMatchObject({ code: 'cancelled' });
    expect(networkFailure(coded('ECONNRESET'), new AbortController().signal)).toMatchObject({
      code: 'unavailable',
    });
  });

  it('repeats the innermost words of anything else, on one line and cut', () => {
    const error = new TypeError('fetch failed', { cause: new Error(`odd\n  answer ${'x'.repeat(500)}`) });
    const { code, message, cause } = networkFailure(error);
    expect([code, cause]).toEqual(['backend_error', error]);
    expect(message).toMatch(/^the backend failed: odd answer x+…$/);
    expect(message.length).toBeLessThanOrEqual('the backend failed: '.length + 300);
    expect(networkFailure('thrown text')).toMatchObject({ message: 'the backend failed: thrown text' });
  });
});

it.each([
  [400, 'backend_error'],
  [401, 'auth_failed'],
  [403, 'permission_denied'],
  [404, 'not_found'],
  [408, 'timeout'],
  [409, 'backend_error'],
  [412, 'conflict'],
  [413, 'payload_too_large'],
  [429, 'rate_limited'],
  [500, 'backend_error'],
  [502, 'unavailable'],
  [503, 'unavailable'],
  [504, 'timeout'],
  [302, 'backend_error'],
])('the HTTP status %i is %s', (status, code) => {
  expect(httpFailure({ status })).toMatchObject({
    code,
    message: `the backend answered ${status}`,
    details: { backend_status: status },
  });
});

it('carries the words, the wait and the cause of an HTTP answer', () => {
  const cause = new Error('original');
  const error = httpFailure({ status: 429, message: '  slow\ndown ', retryAfterMs: 2_000, cause });
  expect(error).toMatchObject({
    code: 'rate_limited',
    message: 'the backend answered 429: slow down',
    retryAfterMs: 2_000,
    cause,
  });
  expect(httpFailure({ status: 500, message: ' \n ' }).message).toBe('the backend answered 500');
});

it.each([
  [1, 'cancelled'],
  [2, 'backend_error'],
  [3, 'backend_error'],
  [4, 'timeout'],
  [5, 'not_found'],
  [6, 'already_exists'],
  [7, 'permission_denied'],
  [8, 'rate_limited'],
  [12, 'backend_error'],
  [13, 'backend_error'],
  [14, 'unavailable'],
  [16, 'auth_failed'],
])('the gRPC status %i is %s', (status, code) => {
  const cause = new Error('original');
  expect(grpcFailure(status, 'its words', cause)).toMatchObject({
    code,
    message: 'the backend answered: its words',
    details: { backend_status: status },
    cause,
  });
});

it('quotes at most 300 characters, on one line', () => {
  expect(quoted('x'.repeat(300))).toHaveLength(300);
  expect(quoted('x'.repeat(301))).toHaveLength(300);
  expect(quoted(' a\r\n\tb ')).toBe('a b');
});
