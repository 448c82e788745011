import { z } from 'zod';
import { invalidField } from '../errors/error.ts';
import type { RotationPosition } from '../registry/keyring.ts';
import { defineOperation } from './operation.ts';

/** Credentials of one call, unless told. */
const STEP = 1_000;

const masterKey = z
  .object({
    key_id: z.string(),
    current: z.boolean().describe('Whether the server that answers seals with it.'),
    credentials: z.int().min(0).describe('Stored credentials that it sealed.'),
    current_on: z
      .array(z.string())
      .readonly()
      .describe('Servers on the same database that seal with it; empty where it is not shared.'),
    missing_on: z.array(z.string()).readonly().describe('Servers that cannot open what it sealed.'),
  })
  .meta({ id: 'MasterKey' });

export const keyringList = defineOperation({
  id: 'keyring.list',
  method: 'GET',
  path: '/keyring',
  summary: 'List the master keys by their ids, and what needs them.',
  description: 'The keys themselves are never shown.',
  role: 'admin',
  tenant: 'all',
  input: z.strictObject({}),
  output: z.object({ keys: z.array(masterKey).readonly() }),
  async run({ registry }) {
    const keys = await registry.keyring.list();
    return {
      keys: keys.map(({ keyId, isCurrent, credentials, currentOn, missingOn }) => ({
        key_id: keyId,
        current: isCurrent,
        credentials,
        current_on: currentOn,
        missing_on: missingOn,
      })),
    };
  },
});

export const keyringRotate = defineOperation({
  id: 'keyring.rotate',
  method: 'POST',
  path: '/keyring/rotate',
  summary: 'Seal credentials anew with the current master key.',
  description:
    'Each call does a part; pass its `next` on as `after` until it is null. Servers go on serving meanwhile. A call that is cut off is simply made again.',
  role: 'admin',
  tenant: 'all',
  input: z.strictObject({
    limit: z
      .int()
      .min(1)
      .max(10_000)
      .default(STEP)
      .describe('Credentials that this call seals anew, at most.'),
    after: z.string().max(8_000).optional().describe('The `next` of the call before; absent at the start.'),
  }),
  output: z
    .object({
      key_id: z.string().describe('The key that credentials are sealed with from now on.'),
      resealed: z.int().min(0),
      remaining: z
        .int()
        .min(0)
        .describe(
          'Credentials that another key sealed: counted at the start and the end, reckoned in between.',
        ),
      unreadable: z.int().min(0).describe('Credentials that do not open and were left as they are.'),
      unreadable_connectors: z
        .array(z.string())
        .readonly()
        .describe('Connectors that they are of, 100 at most.'),
      next: z.string().nullable(),
    })
    .meta({ id: 'KeyRotation' }),
  async run({ registry, signal }, { limit, after }) {
    const from = after === undefined ? undefined : positionIn(after);
    const done = await registry.keyring.rotate({ limit, after: from, signal });
    return {
      key_id: done.keyId,
      resealed: done.resealed,
      remaining: done.remaining,
      unreadable: done.unreadable,
      unreadable_connectors: done.unreadableConnectors,
      next: done.next ? cursorOf(done.next) : null,
    };
  },
});

// Anyone may make one up, so it holds nothing that a database takes for no text.
const part = z.string().refine((text) => !text.includes('\0'));
const position = z.strictObject({
  connectorId: part,
  tenantId: part,
  field: part,
  left: z.int().min(0),
});

function cursorOf(next: RotationPosition): string {
  return Buffer.from(JSON.stringify(next)).toString('base64url');
}

function positionIn(cursor: string): RotationPosition {
  try {
    return position.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')));
  } catch {
    throw invalidField('after', 'is the next of an earlier call');
  }
}
