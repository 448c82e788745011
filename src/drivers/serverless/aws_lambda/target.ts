import { invalidField } from '../../../driver.ts';

/** A function, and which of its versions. */
export type FunctionTarget = { readonly name: string; readonly qualifier: string | undefined };

// https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html (read 2026-11-28)
const NAME = /^([A-Za-z0-9_-]{1,64})(?::([A-Za-z0-9_-]{1,128}))?$/;

/**
 * The function of a name, which may have a version or an alias (`name:alias`).
 *
 * ARNs are refused: they lead to other accounts, where this connector's rights would be somebody else's to use.
 *
 * @throws ConnectorError `invalid_argument`.
 */
export function functionTarget(name: string, qualifier: string | undefined): FunctionTarget {
  const [, bare, own] = NAME.exec(name) ?? [];
  if (bare === undefined)
    throw invalidField(
      'name',
      'is 1 to 64 letters, digits, _ and -, with :VERSION or :ALIAS at its end if need be',
    );
  return { name: bare, qualifier: own ?? qualifier };
}

/** What a durable function needs, which Lambda runs by a version, an alias or `$LATEST` alone, and never by its bare name. */
export const UNPUBLISHED = '$LATEST';
