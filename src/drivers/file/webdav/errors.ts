import type { IncomingMessage } from 'node:http';
import { ConnectorError, httpFailure, invalidField, parseRetryAfter, type Clock } from '../../../driver.ts';
import type { Answer, Verb } from './http.ts';

/** What an answer other than a success means. Its body is not read: servers put pages of their own there. */
export function refused(verb: Verb, { statusCode: status, headers }: Answer, clock: Clock): ConnectorError {
  const fail = (code: 'backend_error' | 'conflict', message: string) =>
    new ConnectorError(code, message, { details: { backend_status: status } });
  if (status < 300) return fail('backend_error', `the backend answered ${status} to ${verb}; is it WebDAV?`);
  if (status < 400)
    return fail(
      'backend_error',
      `the backend redirects ${verb} (${status}), which is not followed; give the endpoint that it leads to`,
    );
  if (status === 414 || status === 431) return invalidField('path', 'is too long for the server');
  switch (status) {
    case 405:
    case 501:
      return fail('backend_error', `the backend does not allow ${verb} here (${status}); is it WebDAV?`);
    // Requests in progress hold locks as well, and those were waited for: this one is somebody's, and lasts. It says
    // nothing of other files, so it is not `unavailable`, which opens the breaker for all of them.
    case 423:
      return fail('conflict', 'somebody has locked the file or its folder');
    // Not `unavailable` for the same reason: reading and deleting go on.
    case 507:
      return fail('backend_error', 'the storage of the backend is full');
    default: {
      const retryAfterMs = parseRetryAfter(headers['retry-after'], clock.now());
      return httpFailure({ status, retryAfterMs });
    }
  }
}

export function noSuchFile(): ConnectorError {
  return new ConnectorError('not_found', 'there is no such file');
}

export function folderInTheWay(): ConnectorError {
  return new ConnectorError('already_exists', 'a folder has this name');
}

export function fileInTheWay(): ConnectorError {
  return new ConnectorError('already_exists', 'a file has the name of one of the folders');
}

/** The path that a redirect leads to; undefined where it is none. */
export function redirectOf({ statusCode = 0, headers: { location } }: IncomingMessage): string | undefined {
  return statusCode >= 300 && statusCode < 400 ? location : undefined;
}
