import { inspect } from 'node:util';
import { ConnectorError } from '../errors/error.ts';
import { redactText } from '../secrets/redact.ts';

/** The same error where neither it nor its cause holds one of the secrets; otherwise one that shows them masked. */
export function redactError(error: ConnectorError, secrets: readonly string[]): ConnectorError {
  if (secrets.length === 0) return error;
  const clean = (text: string) => redactText(text, secrets);
  // Texts alone: a number that looks like a secret is a count, and a mask in its place would be no JSON.
  const cleanTexts = (_key: string, value: unknown) => (typeof value === 'string' ? clean(value) : value);
  const told = JSON.stringify([error.details, error.issues]);
  const masked = JSON.stringify([error.details, error.issues], cleanTexts);
  const cause = redactCause(error.cause, clean);
  if (clean(error.message) === error.message && masked === told && cause === error.cause) return error;
  // What was written out is read again: texts changed, and nothing else.
  const [details, issues] = JSON.parse(masked) as [Record<string, unknown>, typeof error.issues];
  return new ConnectorError(error.code, clean(error.message), {
    connectorId: error.connectorId,
    connectorType: error.connectorType,
    details,
    issues,
    ...(cause !== undefined && { cause }),
    ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs }),
  });
}

/** The cause as it is, unless printing it would print a secret: then its class and its masked message alone. */
function redactCause(cause: unknown, clean: (text: string) => string): unknown {
  if (cause === undefined) return undefined;
  const printed = inspect(cause, { depth: 6, showHidden: true });
  if (clean(printed) === printed) return cause;
  const masked = new Error(clean(cause instanceof Error ? cause.message : String(cause)));
  masked.name = cause instanceof Error ? cause.name : 'Error';
  delete masked.stack;
  return masked;
}
