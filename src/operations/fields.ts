import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../errors/codes.ts';

/** The id of a connector, as every operation on one takes it. */
export const connectorId = z.string().min(1).max(128).describe('The id of the connector.');

/** The path of a file, as every operation on one takes it. */
export const filePath = z.string().describe('Path below the root of the connector, separated by `/`.');

/**
 * A filter over metadata, read as unknown: the connector parses it and names what is wrong in it by its path. A zod
 * record would drop a condition on `__proto__` without a word, and then everything would match.
 */
export const filter = z.unknown().meta({
  type: 'object',
  description:
    'Conditions on metadata: `{ "field": value }` or `{ "field": { "$gte": 3 } }`, combined by `$and`, `$or`, `$not`.',
});

/** Metadata of a vector; any key is data, so this is no zod record either. */
export const vectorMetadata = z.unknown().meta({ type: 'object' });

/** Metadata of a file, read as unknown for the same reason. */
export const fileMetadata = z.unknown().meta({ type: 'object', additionalProperties: { type: 'string' } });

/**
 * A field that its schema reads as unknown, with the type that the connector's own check proves.
 *
 * Walking 10,000 vectors twice would double the time of an upsert.
 */
export function provenByConnector<T>(value: unknown): T {
  // Whatever is not of this type is refused by the connector before it does anything, by the field's path.
  return value as T;
}

/** An error code, in answers. */
export const errorCode = z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]);

/** A moment, in answers. */
export const instant = z.iso.datetime();

/** A moment as callers say it, of any zone that it names. */
export const givenInstant = z.iso.datetime({ offset: true });
