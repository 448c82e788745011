import type { Answer, Operation } from '../operations/operation.ts';
import { ERROR_CODES, type ErrorCode } from '../errors/codes.ts';
import { ConnectorError, type FieldIssue } from '../errors/error.ts';
import { isRecord, type Transport, type TransportCall } from './transport.ts';
import { parseWith } from '../contract/validate.ts';

/**
 * Runs operations on a server, each by its own method and path.
 *
 * @param url where the server is, without `/api/v1`.
 */
export function httpTransport({
  url,
  apiKey,
  signal,
}: {
  readonly url: string;
  readonly apiKey: string;
  readonly signal: AbortSignal;
}): Transport {
  const base = `${url.replace(/\/+$/, '')}/api/v1`;
  const send = async (operation: Operation, { input, content }: TransportCall): Promise<Response> => {
    const { path, headers, query, body } = requestOf(operation, input);
    const request = {
      method: operation.method,
      headers: { authorization: `Bearer ${apiKey}`, ...bodyType(operation, body), ...headers },
      signal,
      ...(content
        ? { body: content as ReadableStream<Uint8Array>, duplex: 'half' as const }
        : body !== undefined && { body: JSON.stringify(body) }),
    };
    const response = await fetch(`${base}${path}${query}`, request).catch((cause: unknown) => {
      throw unreachable(url, cause, signal);
    });
    if (!response.ok) throw await problem(response);
    return response;
  };
  return {
    registry: undefined,
    async run<Op extends Operation>(operation: Op, call: TransportCall) {
      const answer: unknown = await (await send(operation, call)).json();
      if (operation.output === 'bytes') throw new TypeError(`${operation.id} answers bytes`);
      // Read by the operation's own output schema: what it accepts is what the operation answers.
      return parseWith(operation.output, answer, 'the answer') as Answer<Op>;
    },
    async read(operation, call) {
      const { headers, body } = await send(operation, call);
      return { size: Number(headers.get('content-length') ?? 0), body: body ?? [] };
    },
    close: async () => {},
  };
}

/** Where each field of an input goes: into the path, a header, the query or the body. */
function requestOf(operation: Operation, input: Readonly<Record<string, unknown>>) {
  const rest = new Map(Object.entries(input).filter(([, value]) => value !== undefined));
  const take = (name: string) => {
    const value = rest.get(name);
    rest.delete(name);
    return value;
  };
  const path = operation.path.replace(/\{(\w+)(\+?)\}/g, (_, name: string, wholeRest: string) => {
    const text = String(take(name));
    return wholeRest ? text.split('/').map(encodeURIComponent).join('/') : encodeURIComponent(text);
  });
  const headers: Record<string, string> = {};
  for (const { header, field } of operation.headers ?? []) {
    const value = take(field);
    if (field === 'async' && value === true) headers[header] = 'respond-async';
    else if (typeof value === 'string') headers[header] = value;
  }
  // The tenant is always in the query: a body holds the operation's own fields alone.
  const inQuery = isBodiless(operation) ? [...rest] : [...rest].filter(([name]) => name === 'tenant_id');
  const query = new URLSearchParams(
    inQuery.map(([name, value]): [string, string] => [name, String(value)]),
  ).toString();
  rest.delete('tenant_id');
  return {
    path,
    headers,
    query: query === '' ? '' : `?${query}`,
    body: isBodiless(operation) ? undefined : Object.fromEntries(rest),
  };
}

function isBodiless({ method, request }: Operation): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'DELETE' || (request ?? 'json') !== 'json';
}

function bodyType({ request }: Operation, body: unknown): Record<string, string> {
  if (request === 'ndjson') return { 'content-type': 'application/x-ndjson' };
  if (request === 'bytes') return { 'content-type': 'application/octet-stream' };
  return body === undefined ? {} : { 'content-type': 'application/json' };
}

async function problem(response: Response): Promise<ConnectorError> {
  const body: unknown = await response.json().catch(() => ({}));
  const { code, detail, issues, retry_after_ms, details } = isRecord(body) ? body : {};
  const known =
    typeof code === 'string' && Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'backend_error';
  return new ConnectorError(
    known,
    typeof detail === 'string'
      ? detail
      : `the server answered ${response.status}, and not as this version expects`,
    {
      details: { ...(isRecord(details) && details), status: response.status },
      // The server is one of ours, or its answer had no code that we know.
      ...(Array.isArray(issues) && { issues: issues as readonly FieldIssue[] }),
      ...(typeof retry_after_ms === 'number' && { retryAfterMs: retry_after_ms }),
    },
  );
}

function unreachable(url: string, cause: unknown, signal: AbortSignal): ConnectorError {
  if (signal.aborted) return new ConnectorError('cancelled', 'the caller ended the call', { cause });
  return new ConnectorError('unavailable', `no server answers at ${url}; start one with: connectors serve`, {
    cause,
  });
}
