import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify';
import { ConnectorError, invalidField } from '../errors/error.ts';
import { type BytesAnswer, type Caller, type Operation, runOperation } from '../operations/operation.ts';
import { metadataHeaders, metadataInHeaders, METADATA_HEADERS } from '../operations/metadata-headers.ts';
import { readText } from '../operations/text-input.ts';
import type { ConnectorRegistry } from '../registry/registry.ts';

export const API_PREFIX = '/api/v1';

const JSON_TYPE = 'application/json; charset=utf-8';
const JSON_TYPES = ['application/json', 'application/merge-patch+json'];
export const NDJSON_TYPES = ['application/x-ndjson', 'application/ndjson', 'application/jsonl'];
const METHODS: readonly HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const DEFAULT_BODY_BYTES = 2 ** 20;
// What a backend says of a file may be any text, as in JSON and XML; of what no header can hold, nothing is said.
const ETAG = /^[!#-~\u0080-\u00ff]*$/;
const HEADER_TEXT = /^[ -~\u0080-\u00ff]*$/;

/** Mounts every operation; where a path does not know a method, the answer is 405 and names those that it knows. */
export function mountOperations(
  app: FastifyInstance,
  operations: readonly Operation[],
  registry: ConnectorRegistry,
): void {
  const byPath = Map.groupBy(operations, (operation) => operation.path);
  const json = [...byPath].filter(([, group]) => !group.some(takesRawBody));
  const raw = [...byPath].filter(([, group]) => group.some(takesRawBody));
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(JSON_TYPES, { parseAs: 'buffer' }, (_request, body: Buffer, done) => {
    try {
      done(null, parseJson(body));
    } catch (error) {
      // The framework passes on any error object, and this one is a ConnectorError.
      done(error as Error);
    }
  });
  app.addContentTypeParser(NDJSON_TYPES, (_request, _payload, done) => done(null));
  for (const [path, group] of json) mountPath(app, path, group, registry);
  // Content of any type is a file here, also JSON: nothing may parse it.
  app.register(async (files) => {
    files.removeAllContentTypeParsers();
    files.addContentTypeParser('*', (_request, _payload, done) => done(null));
    for (const [path, group] of raw) mountPath(files, path, group, registry);
  });
}

function takesRawBody({ request }: Operation): boolean {
  return request === 'bytes';
}

function mountPath(
  app: FastifyInstance,
  path: string,
  group: readonly Operation[],
  registry: ConnectorRegistry,
): void {
  const url = path.replace(/\{(\w+)\+\}/, '*').replaceAll(/\{(\w+)\}/g, ':$1');
  const rest = /\{(\w+)\+\}/.exec(path)?.[1];
  const byMethod = Map.groupBy(group, (operation) => operation.method);
  for (const [method, choices] of byMethod) {
    app.route({
      method,
      url,
      exposeHeadRoute: method === 'GET' && !byMethod.has('HEAD'),
      bodyLimit: Math.max(...choices.map(({ bodyLimitBytes = DEFAULT_BODY_BYTES }) => bodyLimitBytes)),
      handler: (request, reply) => handle(pick(choices, request), { request, reply, registry, rest }),
    });
  }
  const allowed = METHODS.filter(
    (method) => byMethod.has(method as Operation['method']) || (method === 'HEAD' && byMethod.has('GET')),
  );
  app.route({
    method: METHODS.filter((method) => !allowed.includes(method)),
    url,
    handler: (request, reply) => {
      reply.header('allow', allowed.join(', '));
      throw new MethodNotAllowed(request.method, allowed);
    },
  });
}

/** A method that a path does not know; a class of its own because no code of the table has this status. */
export class MethodNotAllowed extends ConnectorError {
  constructor(method: string, allowed: readonly string[]) {
    super('unsupported', `${method} is not one of ${allowed.join(', ')}`, {
      details: { capability: 'method', allowed },
    });
  }
}

type Exchange = {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly registry: ConnectorRegistry;
  /** The field that takes the rest of the path. */
  readonly rest: string | undefined;
};

/** Of the operations on one path and method, the one that reads what the request sends. */
function pick(choices: readonly Operation[], { headers }: FastifyRequest): Operation {
  const type = headers['content-type']?.split(';')[0]?.trim().toLowerCase() ?? '';
  const wanted = NDJSON_TYPES.includes(type) ? 'ndjson' : 'json';
  const found = choices.find(({ request = 'json' }) => request === 'bytes' || request === wanted);
  if (found) return found;
  throw Object.assign(new Error('no operation reads this content type'), {
    code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE',
  });
}

async function handle(operation: Operation, exchange: Exchange): Promise<FastifyReply> {
  const { request } = exchange;
  const { caller } = request;
  // The authentication hook runs before every handler of this scope.
  if (!caller) throw new ConnectorError('internal', 'the request was not authenticated');
  return runRequest(operation, { ...exchange, caller, input: rawInput(operation, exchange) });
}

/** What a request runs an operation with. */
export type RequestRun = Omit<Exchange, 'rest'> & {
  readonly caller: Caller;
  /** In wire names; for what the headers say, see `headersOf`. */
  readonly input: Record<string, unknown>;
  /** The request's own body unless told. */
  readonly content?: AsyncIterable<Uint8Array>;
};

/** Runs an operation until it is done or the caller has gone, and answers what it answers. */
export async function runRequest(
  operation: Operation,
  { request, reply, registry, caller, input, content = bodyOf(request.raw) }: RequestRun,
): Promise<FastifyReply> {
  const gone = new AbortController();
  reply.raw.once('close', () => {
    // Aborting makes an error with its stack, which costs more than all the rest: not where the answer is out.
    if (!reply.raw.writableEnded) gone.abort();
    // What was not read of the body stands before the next request on the connection.
    else if (!request.raw.complete) request.raw.resume();
  });
  const context = { registry, caller, signal: gone.signal, content };
  if (operation.output === 'bytes') return sendBytes(reply, await runOperation(operation, context, input));
  const output = await runOperation(operation, context, input);
  // `reply` reads fields of the validated input; what it needs of them are the caller's own strings and flags.
  const { status = 200, location } = operation.reply?.(output, input) ?? {};
  if (location !== undefined) reply.header('location', API_PREFIX + location);
  return reply.code(status).header('content-type', JSON_TYPE).send(JSON.stringify(output));
}

/** The request's body: whoever gives up on it leaves the connection, on which the answer has to come, as it is. */
function bodyOf(raw: IncomingMessage): AsyncIterable<Uint8Array> {
  return { [Symbol.asyncIterator]: () => raw.iterator({ destroyOnReturn: false }) };
}

/** The fields of an operation's input that are headers. */
export function headersOf(
  { headers: fields }: Operation,
  { headers }: FastifyRequest,
): Record<string, unknown> {
  const taken: Record<string, unknown> = {};
  for (const { header, field, read } of fields ?? []) {
    if (header === METADATA_HEADERS) {
      const metadata = metadataInHeaders(Object.entries(headers));
      if (metadata) taken[field] = metadata;
      continue;
    }
    const text = headers[header.toLowerCase()];
    if (typeof text === 'string') taken[field] = read ? read(text) : text;
  }
  return taken;
}

/** The operation's input in wire names, gathered from the path, the headers, and the query or the body. */
function rawInput(operation: Operation, { request, rest }: Exchange): Record<string, unknown> {
  // Fastify's own parsers made these: a map of strings each, the body whatever JSON was sent.
  const params = request.params as Readonly<Record<string, string>>;
  const query = request.query as Readonly<Record<string, unknown>>;
  const input = usesBody(operation) ? bodyFields(request.body) : readText(operation, query);
  const taken = headersOf(operation, request);
  for (const [name, value] of Object.entries(params))
    taken[name === '*' && rest !== undefined ? rest : name] = value;
  if (usesBody(operation)) Object.assign(taken, query);
  for (const name of Object.keys(taken)) {
    // A second value for what the path, a header or the query says would be dropped without a word.
    if (Object.hasOwn(input, name)) throw invalidField(name, 'is given twice');
  }
  return Object.assign(input, taken);
}

function usesBody({ method, request = 'json' }: Operation): boolean {
  return request === 'json' && (method === 'POST' || method === 'PATCH' || method === 'PUT');
}

function bodyFields(body: unknown): Record<string, unknown> {
  if (body === undefined || body === null) return {};
  if (typeof body === 'object' && !Array.isArray(body)) return body as Record<string, unknown>;
  throw invalidField('body', 'is a JSON object');
}

/** JSON in which `__proto__` and `constructor` are keys like any other, as `JSON.parse` itself reads them. */
function parseJson(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    // Without the parser's own message, which quotes the body.
    throw invalidField('body', 'is valid JSON');
  }
}

function sendBytes(reply: FastifyReply, answer: BytesAnswer): FastifyReply {
  const { size, lastModified, etag, contentType, metadata, range, body, notModified } = answer;
  reply.headers({
    'accept-ranges': 'bytes',
    'last-modified': lastModified.toUTCString(),
    ...(etag !== undefined && ETAG.test(etag) && { etag: `"${etag}"` }),
  });
  if (notModified) return reply.code(304).send();
  reply.headers({
    'content-type':
      contentType !== undefined && HEADER_TEXT.test(contentType) ? contentType : 'application/octet-stream',
    ...metadataHeaders(metadata),
    // A tenant's file is never a page of this server.
    'content-disposition': 'attachment',
    'content-length': range ? range.end - range.start + 1 : size,
    ...(range && { 'content-range': `bytes ${range.start}-${range.end}/${size}` }),
  });
  reply.code(range ? 206 : 200);
  return body ? reply.send(Readable.from(body, { objectMode: false })) : reply.send();
}
