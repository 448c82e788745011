import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { ErrorCode } from '../errors/codes.ts';
import { ERROR_CODES } from '../errors/codes.ts';
import type { InputSchema, Operation } from '../operations/operation.ts';

type Json = Readonly<Record<string, unknown>>;
type ObjectSchema = {
  readonly properties?: Readonly<Record<string, Json>>;
  readonly required?: readonly string[];
};

const TENANT: Json = {
  name: 'tenant_id',
  in: 'query',
  description: 'The tenant to act for; only an administrator of all tenants names one.',
  schema: { type: 'string', pattern: '^[A-Za-z0-9._:-]{1,128}$' },
};

/** An OpenAPI 3.1 document of the operations, made from the very schemas that validate their input. */
export function openApiDocument(operations: readonly Operation[]): Json {
  const schemas = new Map<string, Json>();
  const paths: Record<string, Record<string, Json>> = {};
  for (const operation of operations) {
    const path = `/api/v1${operation.path.replace('+}', '}')}`;
    const item = (paths[path] ??= {});
    const method = operation.method.toLowerCase();
    const described = describe(operation, schemas);
    item[method] = item[method] ? withContentOf(item[method], described) : described;
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'connector-registry',
      version: packageVersion(),
      description: 'Vector databases, files and functions of many tenants, behind one interface.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ key: [] }],
    tags: [...new Set(operations.map(tagOf))].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer', description: 'An API key.' } },
      schemas: { Problem: problemSchema(), ...Object.fromEntries(schemas) },
    },
  };
}

function describe(operation: Operation, schemas: Map<string, Json>): Json {
  const { input, headers = [], path, request = 'json', method } = operation;
  const { properties = {}, required = [] } = inputSchema(input);
  const inPath = [...path.matchAll(/\{(\w+)\+?\}/g)].map(([, name = '']) => name);
  const inHeaders = new Map(headers.map(({ field, header }) => [field, header]));
  const others = Object.keys(properties).filter((name) => !inPath.includes(name) && !inHeaders.has(name));
  const takesJson = request === 'json' && method !== 'GET' && method !== 'HEAD' && method !== 'DELETE';
  const parameter = (name: string, where: string, shown = name) => {
    const { description, ...schema } = properties[name] ?? {};
    return {
      name: shown,
      in: where,
      ...((where === 'path' || required.includes(name)) && { required: true }),
      ...(description !== undefined && { description }),
      schema:
        where === 'header' && typeof schema['type'] === 'string' && schema['type'] !== 'string'
          ? { type: 'string' }
          : schema,
    };
  };
  return {
    operationId: operation.id,
    tags: [tagOf(operation)],
    summary: operation.summary,
    description: [operation.description, neededRole(operation)].filter(Boolean).join('\n\n'),
    parameters: [
      ...inPath.map((name) => parameter(name, 'path')),
      // OpenAPI keeps Content-Type for the request's body to state.
      ...[...inHeaders]
        .filter(([, header]) => header !== 'Content-Type')
        .map(([name, header]) => parameter(name, 'header', header)),
      ...(takesJson ? [] : others.map((name) => parameter(name, 'query'))),
      ...(operation.tenant === 'none' || operation.tenant === 'all' ? [] : [TENANT]),
    ],
    ...requestBody(operation, takesJson, others),
    responses: {
      ...successes(operation, schemas),
      default: {
        description: 'What went wrong; `code` says it for programs.',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  };
}

function neededRole({ role, tenant }: Operation): string {
  return tenant === 'all' ? `Needs the role \`${role}\` of all tenants.` : `Needs the role \`${role}\`.`;
}

function requestBody(
  { input, request = 'json' }: Operation,
  takesJson: boolean,
  fields: readonly string[],
): Json {
  const binary = { schema: { type: 'string', format: 'binary' } };
  if (request === 'bytes')
    return { requestBody: { required: true, content: { 'application/octet-stream': binary } } };
  if (request === 'ndjson') {
    const lines = { schema: { type: 'string', description: 'One JSON record a line.' } };
    return { requestBody: { required: true, content: { 'application/x-ndjson': lines } } };
  }
  if (!takesJson || (fields.length === 0 && !('oneOf' in inputSchema(input)))) return {};
  const { properties = {}, required = [], ...rest } = inputSchema(input);
  const body =
    'oneOf' in rest
      ? rest
      : {
          ...rest,
          properties: Object.fromEntries(fields.map((name) => [name, properties[name]])),
          required: required.filter((name) => fields.includes(name)),
        };
  return { requestBody: { required: true, content: { 'application/json': { schema: body } } } };
}

function successes(operation: Operation, schemas: Map<string, Json>): Json {
  if (operation.output === 'bytes') {
    const content = { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } };
    const body = operation.method === 'HEAD' ? {} : { content };
    return {
      200: { description: 'The file.', ...body },
      ...(operation.method === 'GET' && {
        206: { description: 'The part of the file that was asked for.', ...body },
      }),
      304: { description: "The caller's copy is current." },
    };
  }
  const content = { 'application/json': { schema: outputSchema(operation.output, schemas) } };
  return Object.fromEntries(
    (operation.statuses ?? [200]).map((status) => [status, { description: MEANINGS[status], content }]),
  );
}

const MEANINGS = {
  200: 'Done.',
  201: 'Made.',
  202: 'Accepted; `Location` says where the result will be.',
} as const;

/** Operations on one path and method differ in the body that they take: one description with both. */
function withContentOf(first: Json, second: Json): Json {
  const contentOf = ({ requestBody: body }: Json) =>
    (body as { readonly content?: Json } | undefined)?.content;
  return {
    ...first,
    description: `${String(first['description'])}\n\nAs NDJSON: ${String(second['description'])}`,
    requestBody: { required: true, content: { ...contentOf(first), ...contentOf(second) } },
  };
}

function inputSchema(input: InputSchema): ObjectSchema {
  const { $schema: _dialect, ...schema } = z.toJSONSchema(input, { io: 'input', unrepresentable: 'any' });
  return inlined(schema) as ObjectSchema;
}

/** A schema of an answer; what is named in it is kept once, among the components. */
function outputSchema(output: z.ZodType, schemas: Map<string, Json>): Json {
  const { $schema: _dialect, $defs = {}, id, ...schema } = z.toJSONSchema(output, { unrepresentable: 'any' });
  for (const [name, named] of Object.entries($defs)) schemas.set(name, moved(withoutId(named)) as Json);
  if (id === undefined) return moved(schema) as Json;
  schemas.set(id, moved(schema) as Json);
  return { $ref: `#/components/schemas/${id}` };
}

function withoutId({ id: _id, ...schema }: Json): Json {
  return schema;
}

/** References to definitions of the schema itself, pointed at the components instead. */
function moved(schema: unknown): unknown {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/$defs/', '"#/components/schemas/'));
}

/** The schema without `$defs`: the one that zod makes is JSON itself, which needs no describing. */
function inlined({ $defs: _defs, ...schema }: Json): unknown {
  return JSON.parse(JSON.stringify(schema), (_key, value: unknown) =>
    typeof value === 'object' && value !== null && '$ref' in value ? {} : value,
  );
}

function tagOf({ id }: Operation): string {
  return id.split('.')[0] ?? id;
}

function problemSchema(): Json {
  const codes = Object.keys(ERROR_CODES) as ErrorCode[];
  return {
    type: 'object',
    description: 'An error, as RFC 9457 has it.',
    required: ['type', 'title', 'status', 'detail', 'code'],
    properties: {
      type: { type: 'string', format: 'uri-reference' },
      title: { type: 'string' },
      status: { type: 'integer' },
      detail: { type: 'string' },
      code: { enum: codes },
      issues: {
        type: 'array',
        items: {
          type: 'object',
          required: ['path', 'message'],
          properties: { path: { type: 'string' }, message: { type: 'string' } },
        },
      },
      connector_id: { type: 'string' },
      connector_type: { type: 'string' },
      retry_after_ms: { type: 'number' },
      details: { type: 'object' },
    },
  };
}

function packageVersion(): string {
  // Two folders up from src/server and from dist/server alike.
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : '0.0.0';
}
