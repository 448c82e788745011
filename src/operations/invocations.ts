import { z } from 'zod';
import { INVOCATION_STATUSES } from '../connectors/serverless/invocations.ts';
import { connectorId, givenInstant, instant } from './fields.ts';
import { defineOperation } from './operation.ts';
import { toWire } from './wire.ts';

const requestId = z.string().min(1).max(128).describe('The `request_id` that the invocation answered.');

/** How an invocation stands. */
export const invocation = z
  .object({
    function: z.string(),
    request_id: z.string(),
    status: z.enum(INVOCATION_STATUSES),
    result: z.unknown().optional(),
    error: z
      .object({ name: z.string(), message: z.string(), stack: z.string().optional() })
      .optional()
      .describe('What the function itself threw; also why it could not be run, or why its end is not known.'),
    logs: z.string().optional(),
    duration_ms: z.number().min(0).optional(),
    created_at: instant.optional(),
    ended_at: instant.optional(),
    failures: z.int().optional().describe('Attempts that the platform failed.'),
    native: z
      .object({ kind: z.string(), id: z.string() })
      .optional()
      .describe('The run that the platform carries on by itself, by its own id.'),
  })
  .meta({ id: 'Invocation' });

export const invocationGet = defineOperation({
  id: 'invocation.get',
  method: 'GET',
  path: '/connectors/{connector_id}/invocations/{request_id}',
  summary: 'Show what became of an invocation, while it is known.',
  role: 'reader',
  tenant: 'required',
  input: z.strictObject({
    connector_id: connectorId,
    request_id: requestId,
    wait: z
      .number()
      .min(0)
      .max(60)
      .default(0)
      .describe('Seconds to wait for its end; it is answered as it is by then.'),
  }),
  output: invocation,
  async run({ tenant, signal }, { connector_id, request_id, wait }) {
    const connector = await tenant().serverless(connector_id);
    return toWire(await connector.waitForResult(request_id, { timeoutSeconds: wait, signal }));
  },
});

export const invocationList = defineOperation({
  id: 'invocation.list',
  method: 'GET',
  path: '/connectors/{connector_id}/invocations',
  summary: 'List the stored invocations of a connector, newest first, without their results.',
  role: 'reader',
  tenant: 'required',
  input: z.strictObject({
    connector_id: connectorId,
    function: z.string().min(1).max(256).optional().describe('Only those of this function.'),
    status: z.enum(INVOCATION_STATUSES).optional().describe('Only those with this status.'),
    since: givenInstant.optional().describe('Only those accepted at this time or after.'),
    until: givenInstant.optional().describe('Only those accepted before this time.'),
    limit: z.int().min(1).max(1_000).default(100).describe('Invocations in the page, at most.'),
    cursor: z.string().max(256).optional().describe('The `next_cursor` of the page before.'),
  }),
  output: z.object({ invocations: z.array(invocation).readonly(), next_cursor: z.string().optional() }),
  async run({ tenant, signal }, { connector_id, since, until, ...filter }) {
    const connector = await tenant().serverless(connector_id);
    const page = await connector.listInvocations({
      ...filter,
      since: since === undefined ? undefined : new Date(since),
      until: until === undefined ? undefined : new Date(until),
      signal,
    });
    return toWire(page);
  },
});

export const invocationCancel = defineOperation({
  id: 'invocation.cancel',
  method: 'POST',
  path: '/connectors/{connector_id}/invocations/{request_id}/cancel',
  summary: 'End an invocation that has not ended; one that has is answered as it ended.',
  role: 'operator',
  tenant: 'required',
  input: z.strictObject({ connector_id: connectorId, request_id: requestId }),
  output: invocation,
  async run({ tenant, signal }, { connector_id, request_id }) {
    const connector = await tenant().serverless(connector_id);
    return toWire(await connector.cancel(request_id, { signal }));
  },
});
