import * as sdk from '@aws-sdk/client-lambda';
import type { IncomingHttpHeaders } from 'node:http';

/** The operations that the driver may use, as the SDK's own model has them. */
const OPERATIONS = {
  Invoke: sdk.Invoke$,
  ListFunctions: sdk.ListFunctions$,
  GetFunctionConfiguration: sdk.GetFunctionConfiguration$,
  GetDurableExecution: sdk.GetDurableExecution$,
  StopDurableExecution: sdk.StopDurableExecution$,
} as const;
export type OperationName = keyof typeof OPERATIONS;

/** A request on the wire. */
export type WireRequest = {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
};
/** What a request means. */
export type ModelCall = {
  readonly operation: OperationName;
  /** By the names of the SDK's own input. */
  readonly input: Readonly<Record<string, unknown>>;
};
export type WireAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
};

// The SDK writes its model as arrays: [3, namespace, name, traits, members, their schemas, how many are required] for a
// structure, and [9, namespace, name, traits, input, output] for an operation. Traits are an object or bits.
const LABEL = 1;
const PAYLOAD = 16;
const STATUS = 32;
type Traits = { readonly httpHeader?: string; readonly httpQuery?: string } | number;
type Member = {
  readonly name: string;
  readonly type: unknown;
  readonly traits: Traits;
  readonly isRequired: boolean;
};
type Structure = readonly [3, string, string, unknown, readonly string[], readonly unknown[], number?];
type Operation = readonly [
  9,
  string,
  string,
  { readonly http: readonly [string, string, number] },
  Lazy,
  Lazy,
];
type Lazy = () => Structure;

const TYPES: Readonly<Record<number, (value: unknown) => boolean>> = {
  0: (value) => typeof value === 'string',
  1: (value) => typeof value === 'number',
  2: (value) => typeof value === 'boolean',
  4: (value) => typeof value === 'number',
  21: (value) => value instanceof Uint8Array,
};

/** Headers that are not an operation's own. */
const ANY =
  /^(?:host|connection|content-(?:type|length)|accept|authorization|user-agent|amz-sdk-.*|x-amz-(?:date|user-agent|content-sha256|security-token))$/;

/**
 * What a request asks, read and checked by the SDK's own model: path, method, labels, headers, query, body.
 *
 * @throws Error naming what is not so in the model.
 */
export function readCall({ method, url, headers, body }: WireRequest): ModelCall {
  const { pathname, searchParams } = new URL(url, 'http://lambda');
  for (const [operation, schema] of Object.entries(OPERATIONS)) {
    const [, , , { http }, lazy] = schema as unknown as Operation; // the shape that is written above
    const labels = http[0] === method ? labelsIn(http[1], pathname) : undefined;
    if (labels === undefined) continue;
    const input: Record<string, unknown> = {};
    const members = membersOf(lazy());
    const query = new Set(searchParams.keys());
    const own = new Set(Object.keys(headers).filter((name) => !ANY.test(name)));
    for (const { name, type, traits } of members) {
      if (traits === LABEL) input[name] = labels[name];
      else if (traits === PAYLOAD) input[name] = body.length > 0 ? payloadOf(type, body) : undefined;
      else if (typeof traits === 'object' && traits.httpHeader !== undefined) {
        const header = traits.httpHeader.toLowerCase();
        own.delete(header);
        input[name] = headers[header];
      } else if (typeof traits === 'object' && traits.httpQuery !== undefined) {
        query.delete(traits.httpQuery);
        input[name] = cast(type, searchParams.get(traits.httpQuery) ?? undefined);
      } else throw new Error(`${operation}.${name} is of a kind that this double does not read`);
    }
    for (const { name, isRequired } of members)
      if (isRequired && input[name] === undefined) throw new Error(`${operation} lacks ${name}`);
    const stray = [...query, ...own];
    if (stray.length > 0) throw new Error(`${operation} has no ${stray.join(', ')}`);
    const given = Object.entries(input).filter(([, value]) => value !== undefined);
    return { operation: operation as OperationName, input: Object.fromEntries(given) }; // a key of OPERATIONS
  }
  throw new Error(`no operation of the model is ${method} ${pathname}`);
}

/** An answer with this output, checked by the model and written as Lambda writes it. */
export function writeAnswer(operation: OperationName, output: Readonly<Record<string, unknown>>): WireAnswer {
  const [, , , { http }, , lazy] = OPERATIONS[operation] as unknown as Operation; // as above
  const headers: Record<string, string> = { 'x-amzn-requestid': 'b1f0c3e2-0000-4000-8000-000000000000' };
  const json: Record<string, unknown> = {};
  let [, , status] = http;
  let payload: Buffer | undefined;
  const members = new Map(membersOf(lazy()).map((member) => [member.name, member]));
  for (const [name, value] of Object.entries(output)) {
    const member = members.get(name);
    if (member === undefined) throw new Error(`the output of ${operation} has no ${name}`);
    const { type, traits } = member;
    if (typeof type === 'number' && TYPES[type]?.(value) === false)
      throw new Error(`${name} of ${operation} is of another type`);
    if (traits === STATUS)
      status = value as number; // its type was checked
    else if (traits === PAYLOAD)
      payload = Buffer.from(value as Uint8Array); // its type was checked
    else if (typeof traits === 'object' && traits.httpHeader !== undefined)
      headers[traits.httpHeader.toLowerCase()] = String(value);
    else json[name] = value;
  }
  return { status, headers, body: payload ?? Buffer.from(JSON.stringify(json)) };
}

/** An error of the model by its name, with the status that the model gives it. */
export function writeError(name: string, fields: Readonly<Record<string, unknown>> = {}): WireAnswer {
  const schema = (sdk as unknown as Readonly<Record<string, unknown>>)[`${name}$`]; // errors are exported so
  if (schema === undefined) throw new Error(`the model has no error ${name}`);
  const [, , , traits, names] = schema as readonly [number, string, string, { httpError: number }, string[]];
  const stray = Object.keys(fields).filter((field) => !names.includes(field));
  if (stray.length > 0) throw new Error(`${name} has no ${stray.join(', ')}`);
  return errorAnswer(traits.httpError, name, fields);
}

/** An error as the front door of AWS says it, before any operation is looked at. */
export function errorAnswer(
  status: number,
  name: string,
  fields: Readonly<Record<string, unknown>> = {},
): WireAnswer {
  return {
    status,
    headers: { 'content-type': 'application/json', 'x-amzn-errortype': name },
    body: Buffer.from(JSON.stringify(fields)),
  };
}

/** The names of all errors of the model that an operation may answer, as the SDK exports them. */
export function errorNames(): readonly string[] {
  return Object.keys(sdk)
    .filter((name) => name.endsWith('Exception$'))
    .map((name) => name.slice(0, -1));
}

function membersOf([, , , , names, schemas, required = 0]: Structure): readonly Member[] {
  return names.map((name, i) => {
    const schema = schemas[i];
    const [type, traits] = Array.isArray(schema) ? (schema as [unknown, Traits]) : [schema, 0];
    return { name, type, traits, isRequired: i < required };
  });
}

function labelsIn(template: string, pathname: string): Readonly<Record<string, string>> | undefined {
  const names = [...template.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  const found = new RegExp(`^${template.replaceAll(/\{\w+\}/g, '([^/]+)')}$`).exec(pathname);
  if (found === null) return undefined;
  return Object.fromEntries(names.map((name, i) => [name, decodeURIComponent(found[i + 1] ?? '')]));
}

/** Bytes are handed on as they are; a structure is JSON. */
function payloadOf(type: unknown, body: Buffer): unknown {
  const isStructure =
    typeof type === 'function' && Array.isArray((type as Lazy)()) && (type as Lazy)()[0] === 3;
  return isStructure ? JSON.parse(body.toString()) : body;
}

function cast(type: unknown, text: string | undefined): unknown {
  if (text === undefined || type === 0) return text;
  if (type === 2) return text === 'true';
  return Number(text);
}
