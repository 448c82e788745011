import type { Answer, Operation } from '../operations/operation.ts';
import { metadataHeaders, metadataInHeaders } from '../operations/metadata-headers.ts';
import { ERROR_CODES, type ErrorCode } from '../errors/codes.ts';
import { ConnectorError, type FieldIssue } from '../errors/error.ts';
import { type Bytes, isRecord, type Transport, type TransportCall } from './transport.ts';
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
      // Lower-case names: the same header in two spellings would be sent with both values.
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
      const contentType = headers.get('content-type');
      return {
        size: Number(headers.get('content-length') ?? 0),
        ...(contentType !== UNKNOWN_TYPE && contentType !== null && { contentType }),
        metadata: metadataInHeaders(headers),
        body: body ? whole(body, url, signal) : [],
      };
    },
    close: async () => {},
  };
}

/** What the server says of a file whose type nobody knows. */
const UNKNOWN_TYPE = 'application/octet-stream';

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
    if (field === 'async' && value === true) headers['prefer'] = 'respond-async';
    else if (typeof value === 'string') headers[header.toLowerCase()] = value;
    else if (field === 'metadata' && isRecord(value)) Object.assign(headers, metadataHeaders(texts(value)));
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

function texts(fields: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}

function isBodiless({ method, request }: Operation): boolean {
  return method === 'GET' || method === 'HEAD' || method === 'DELETE' || (request ?? 'json') !== 'json';
}

function bodyType({ request }: Operation, body: unknown): Record<string, string> {
  if (request === 'ndjson') return { 'content-type': 'application/x-ndjson' };
  if (request === 'bytes') return { 'content-type': UNKNOWN_TYPE };
  return body === undefined ? {} : { 'content-type': 'application/json' };
}

async function problem(response: Response): Promise<ConnectorError> {
  const body: unknown = await response.json().catch(() => ({}));
  const { code, detail, issues, retry_after_ms, details, connector_id, connector_type } = isRecord(body)
    ? body
    : {};
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
      ...(typeof connector_id === 'string' && { connectorId: connector_id }),
      ...(typeof connector_type === 'string' && { connectorType: connector_type }),
      ...(typeof retry_after_ms === 'number' && { retryAfterMs: retry_after_ms }),
    },
  );
}

/** The body, whose end before its time is an error like any other. */
function whole(body: ReadableStream<Uint8Array>, url: string, signal: AbortSignal): Bytes {
  return {
    [Symbol.asyncIterator]() {
      const chunks = body[Symbol.asyncIterator]();
      return {
        next: () =>
          chunks.next().catch((cause: unknown) => {
            if (signal.aborted) throw unreachable(url, cause, signal);
            throw new ConnectorError('unavailable', `the answer of ${url} was cut off`, { cause });
          }),
        return: async () => (await chunks.return?.()) ?? { done: true, value: undefined },
      };
    },
  };
}

function unreachable(url: string, cause: unknown, signal: AbortSignal): ConnectorError {
  if (signal.aborted) return new ConnectorError('cancelled', 'the caller ended the call', { cause });
  return new ConnectorError('unavailable', `no server answers at ${url}; start one with: connectors serve`, {
    cause,
  });
}
