import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from '../errors/codes.ts';

/** The id of a connector, as every operation on one takes it. */
export const connectorId = z.string().min(1).max(128).describe('The id of the connector.');

/** The path of a file, as every operation on one takes it. */
export const filePath = z.string().describe('Path below the root of the connector, separated by `/`.');

/** A filter over metadata. The connector parses it and names what is wrong in it by its path. */
export const filter = z
  .record(z.string(), z.unknown())
  .describe(
    'Conditions on metadata: `{ "field": value }` or `{ "field": { "$gte": 3 } }`, combined by `$and`, `$or`, `$not`.',
  );

/** An error code, in answers. */
export const errorCode = z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]);

/** A moment, in answers. */
export const instant = z.iso.datetime();
