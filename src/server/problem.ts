import { type ErrorCode, ERROR_CODES } from '../errors/codes.ts';
import { asConnectorError, type ConnectorError, type FieldIssue } from '../errors/error.ts';

/** An error as RFC 9457 has it, with this product's code and the bad fields beside the standard members. */
export type Problem = {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly issues?: readonly FieldIssue[];
  readonly connector_id?: string;
  readonly connector_type?: string;
  readonly retry_after_ms?: number;
  readonly details?: Readonly<Record<string, unknown>>;
};

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

type Overrides = { readonly status?: number };

/**
 * Any error as a problem. Holds neither stack nor cause; a fault of our own says nothing but where to look.
 *
 * `status` replaces the code's own where HTTP has a finer one, such as 405, 415 and 416.
 */
export function problemOf(error: unknown, { status }: Overrides = {}): Problem {
  const { code, message, issues, details, retryAfterMs, connectorId, connectorType } =
    asConnectorError(error);
  const row = ERROR_CODES[code];
  const shared = { type: `/problems/${code}`, title: row.summary, status: status ?? row.status, code };
  if (code === 'internal')
    return { ...shared, detail: 'the server failed; its log has the reason under this X-Request-Id' };
  return {
    ...shared,
    detail: message,
    ...(issues.length > 0 && { issues }),
    ...(connectorId !== undefined && { connector_id: connectorId }),
    ...(connectorType !== undefined && { connector_type: connectorType }),
    ...(retryAfterMs !== undefined && { retry_after_ms: retryAfterMs }),
    ...(Object.keys(details).length > 0 && { details }),
  };
}

/** The headers that go with a problem. */
export function problemHeaders({
  code,
  status,
  retry_after_ms,
  details,
}: Problem): Readonly<Record<string, string>> {
  return {
    'content-type': PROBLEM_TYPE,
    ...(code === 'unauthenticated' && { 'www-authenticate': 'Bearer realm="connector-registry"' }),
    ...(retry_after_ms !== undefined && { 'retry-after': String(Math.ceil(retry_after_ms / 1_000)) }),
    ...(status === 416 && { 'content-range': `bytes */${String(details?.['size'])}` }),
  };
}

/** The status of an error that is about a `Range` header, 416; `undefined` for any other. */
export function rangeStatus(error: ConnectorError): 416 | undefined {
  const [issue] = error.issues;
  return error.code === 'invalid_argument' && issue?.path === 'range' && 'size' in error.details
    ? 416
    : undefined;
}
