import { z } from 'zod';
import { connectorId, instant } from './fields.ts';
import { defineOperation } from './operation.ts';
import { toWire } from './wire.ts';

const MiB = 2 ** 20;
const functionName = z.string().min(1).max(256).describe('The name of the function.');

const invocation = z
  .object({
    function: z.string(),
    request_id: z.string(),
    status: z.enum(['queued', 'running', 'completed', 'failed', 'timed_out']),
    result: z.unknown().optional(),
    error: z
      .object({ name: z.string(), message: z.string(), stack: z.string().optional() })
      .optional()
      .describe('What the function itself threw.'),
    logs: z.string().optional(),
    duration_ms: z.number().min(0).optional(),
  })
  .meta({ id: 'Invocation' });

const functionInfo = z.object({
  name: z.string(),
  runtime: z.string().optional(),
  memory_mb: z.number().optional(),
  timeout_seconds: z.number().optional(),
  last_modified: instant.optional(),
  description: z.string().optional(),
});

export const functionList = defineOperation({
  id: 'function.list',
  method: 'GET',
  path: '/connectors/{connector_id}/functions',
  summary: 'List the functions of a connector.',
  role: 'reader',
  tenant: 'required',
  input: z.strictObject({ connector_id: connectorId }),
  output: z.object({ functions: z.array(functionInfo).readonly() }),
  async run({ tenant, signal }, { connector_id }) {
    const connector = await tenant().serverless(connector_id);
    return { functions: toWire(await connector.listFunctions({ signal })) };
  },
});

export const functionDeploy = defineOperation({
  id: 'function.deploy',
  method: 'PUT',
  path: '/connectors/{connector_id}/functions/{name}',
  summary: 'Deploy a function from the source of one module, replacing the one of that name as a whole.',
  role: 'operator',
  tenant: 'required',
  bodyLimitBytes: 4 * MiB,
  input: z.strictObject({
    connector_id: connectorId,
    name: functionName,
    code: z
      .string()
      .min(1)
      .describe('The module: it exports `handler(event, context)`, or a fetch-style default.'),
    filename: z
      .string()
      .max(256)
      .optional()
      .describe('Its file name, whose ending tells the language: `index.ts`.'),
  }),
  output: functionInfo,
  async run({ tenant, signal }, { connector_id, name, code, filename }) {
    const connector = await tenant().serverless(connector_id);
    const source = { code, ...(filename !== undefined && { filename }) };
    return toWire(await connector.deployFunction(name, source, { signal }));
  },
});

export const functionRemove = defineOperation({
  id: 'function.remove',
  method: 'DELETE',
  path: '/connectors/{connector_id}/functions/{name}',
  summary: 'Remove a function; `deleted` is false where there was none.',
  role: 'operator',
  tenant: 'required',
  input: z.strictObject({ connector_id: connectorId, name: functionName }),
  output: z.object({ deleted: z.boolean() }),
  async run({ tenant, signal }, { connector_id, name }) {
    const connector = await tenant().serverless(connector_id);
    return { deleted: await connector.removeFunction(name, { signal }) };
  },
});

export const functionInvoke = defineOperation({
  id: 'function.invoke',
  method: 'POST',
  path: '/connectors/{connector_id}/functions/{name}/invocations',
  summary: 'Invoke a function and answer its result, or queue it.',
  description:
    'A function that throws is an answer with status `failed`, not an error. With `Prefer: respond-async` the answer is 202 as soon as the invocation is stored, and `Location` says where its result will be.',
  role: 'operator',
  tenant: 'required',
  // The payload's own limit is 6 MB; the rest is for what stands around it.
  bodyLimitBytes: 6 * MiB + 65_536,
  headers: [
    { header: 'Prefer', field: 'async', read: (text) => /(?:^|[,;\s])respond-async(?:$|[,;\s])/i.test(text) },
    { header: 'Idempotency-Key', field: 'idempotency_key' },
  ],
  input: z.strictObject({
    connector_id: connectorId,
    name: functionName,
    payload: z.unknown().optional().describe('Handed to the function, as JSON; null where it is absent.'),
    async: z
      .boolean()
      .default(false)
      .describe('Answer as soon as the invocation is stored, instead of when it has ended.'),
    idempotency_key: z
      .string()
      .min(1)
      .max(256)
      .optional()
      .describe('The same key on the same connector answers the first call and does not call again.'),
    timeout_seconds: z
      .number()
      .positive()
      .max(900)
      .optional()
      .describe('Time limit of the function, in seconds.'),
  }),
  output: invocation,
  statuses: [200, 202],
  reply: ({ status, request_id }, { connector_id, async: later }) =>
    later && (status === 'queued' || status === 'running')
      ? { status: 202, location: `/connectors/${connector_id}/invocations/${request_id}` }
      : {},
  async run({ tenant, signal }, input) {
    const connector = await tenant().serverless(input.connector_id);
    const answer = await connector.invoke(input.name, input.payload ?? null, {
      async: input.async,
      idempotencyKey: input.idempotency_key,
      timeoutSeconds: input.timeout_seconds,
      signal,
    });
    return toWire(answer);
  },
});

export const invocationGet = defineOperation({
  id: 'invocation.get',
  method: 'GET',
  path: '/connectors/{connector_id}/invocations/{request_id}',
  summary: 'Show what became of an invocation, while it is known.',
  role: 'reader',
  tenant: 'required',
  input: z.strictObject({
    connector_id: connectorId,
    request_id: z.string().min(1).max(128).describe('The `request_id` that the invocation answered.'),
  }),
  output: invocation,
  async run({ tenant, signal }, { connector_id, request_id }) {
    const connector = await tenant().serverless(connector_id);
    return toWire(await connector.getResult(request_id, { signal }));
  },
});
