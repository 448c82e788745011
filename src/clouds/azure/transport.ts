import {
  connectionFailure,
  ConnectorError,
  ERROR_CODES,
  networkFailure,
  type ErrorCode,
} from '../../driver.ts';

/** What the errors of Azure's clients have, as far as it is used here. */
type ClientFailure = {
  readonly name?: unknown;
  readonly message?: unknown;
  readonly code?: unknown;
  readonly statusCode?: unknown;
  readonly cause?: unknown;
};

/** A failure of one of Azure's clients before or instead of an answer; `unreadable` makes that of an answer that is none. */
export function transportError(error: unknown, unreadable: () => ConnectorError): ConnectorError {
  for (let at = error, depth = 0; at !== undefined && at !== null && depth < 8; depth += 1) {
    const { code, cause, message } = at as ClientFailure;
    // The client keeps no more than the code and the words of what a refused socket said.
    if (isOwnCode(code)) return new ConnectorError(code, typeof message === 'string' ? message : code);
    const failure = typeof code === 'string' ? connectionFailure(plainError(at, code)) : undefined;
    if (failure !== undefined) return failure;
    at = cause;
  }
  const { name, code, message } = error as ClientFailure;
  const wasCut = name === 'AbortError' || (typeof message === 'string' && /aborted|less data/.test(message));
  if (wasCut)
    return new ConnectorError('unavailable', 'the backend broke off its answer', {
      cause: plainError(error),
    });
  return code === 'PARSE_ERROR' || error instanceof RangeError || error instanceof TypeError
    ? unreadable()
    : networkFailure(plainError(error));
}

function isOwnCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERROR_CODES, code);
}

/** Without the request that the client's errors carry, whose headers hold the signature or the token. */
export function plainError(error: unknown, code?: string): Error {
  const { name, message, statusCode } = error as ClientFailure;
  // With a status, the words are those of the server.
  const words = typeof statusCode === 'number' ? `status ${statusCode}` : message;
  const copy = new Error(typeof words === 'string' ? words : 'unknown failure');
  return Object.assign(copy, {
    ...(typeof name === 'string' && { name }),
    ...(code !== undefined && code !== '' && { code }),
  });
}
