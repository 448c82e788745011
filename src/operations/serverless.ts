import { z } from 'zod';
import { connectorId, instant } from './fields.ts';
import { defineOperation } from './operation.ts';
import { invocation } from './invocations.ts';
import { toWire } from './wire.ts';

const MiB = 2 ** 20;
const functionName = z.string().min(1).max(256).describe('The name of the function.');

const functionInfo = z.object({
  name: z.string(),
  runtime: z.string().optional(),
  memory_mb: z.number().optional(),
  timeout_seconds: z.number().optional(),
  last_modified: instant.optional(),
  description: z.string().optional(),
  version: z.string().optional().describe('Which of its versions runs.'),
  versions: z
    .array(z.string())
    .readonly()
    .optional()
    .describe('What `version` can be rolled back to, newest first.'),
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
  summary:
    'Deploy a function, replacing the one of that name as a whole, or roll it back to an earlier version.',
  description:
    'Exactly one of `code`, `files` and `version`. What does not build or load is refused with the message of the compiler or the function, and the one before goes on serving.',
  role: 'operator',
  tenant: 'required',
  bodyLimitBytes: 8 * MiB,
  input: z
    .strictObject({
      connector_id: connectorId,
      name: functionName,
      code: z
        .string()
        .min(1)
        .optional()
        .describe('One module: it exports `handler(event, context)`, or a fetch-style default.'),
      filename: z
        .string()
        .max(256)
        .optional()
        .describe('The file name of `code`, whose ending tells the language: `index.ts`.'),
      files: z
        .record(z.string(), z.string())
        .optional()
        .describe(
          "Several files by their path below the function's folder, with an `index.ts` (`.mts .js .mjs`).",
        ),
      version: z.string().min(1).max(64).optional().describe('One that was deployed before and is kept.'),
    })
    .refine(
      ({ code, files, version }) => [code, files, version].filter((one) => one !== undefined).length === 1,
      {
        path: ['code'],
        message: 'is given, or files, or version: exactly one of them',
      },
    ),
  output: functionInfo,
  async run({ tenant, signal }, { connector_id, name, code, filename, files, version }) {
    const connector = await tenant().serverless(connector_id);
    const source =
      version !== undefined
        ? { version }
        : files !== undefined
          ? { files }
          : { code: code ?? '', ...(filename !== undefined && { filename }) };
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
      .describe(
        'For 24 hours the same key on the same function answers the first call and does not call again.',
      ),
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

export const functionLogs = defineOperation({
  id: 'function.logs',
  method: 'GET',
  path: '/connectors/{connector_id}/functions/{name}/logs',
  summary: 'Show what a function wrote last.',
  role: 'reader',
  tenant: 'required',
  input: z.strictObject({
    connector_id: connectorId,
    name: functionName,
    limit: z
      .int()
      .min(1)
      .max(1_000)
      .default(100)
      .describe('Entries, at most; the newest ones, oldest first.'),
  }),
  output: z.object({
    logs: z.array(z.object({ at: instant, request_id: z.string().optional(), text: z.string() })).readonly(),
  }),
  async run({ tenant, signal }, { connector_id, name, limit }) {
    const connector = await tenant().serverless(connector_id);
    return { logs: toWire(await connector.functionLogs(name, { limit, signal })) };
  },
});
