import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import {
  ConnectorError,
  MAX_FAILURE_BYTES,
  networkFailure,
  type Agents,
  type HttpAnswer,
} from '../../../driver.ts';
import type { Address } from './addresses.ts';

/** One request. */
export type Message = {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON text; none where it is empty. */
  readonly body: string;
};

/**
 * Sends one request and reads the answer whole, of which no more than `maxBytes` is ever held; of a failure, the
 * beginning is read. No redirect is followed.
 *
 * By `node:http`, because `fetch` sends no `Host` of the caller's choice.
 *
 * @throws ConnectorError `payload_too_large` as soon as the answer is longer; as `networkFailure` for a connection that
 *   fails or ends early. The connection is given up then, and where the signal is aborted.
 */
export function exchange(
  agents: Agents,
  to: Address,
  { method, headers, body }: Message,
  { maxBytes, signal }: { readonly maxBytes: number; readonly signal: AbortSignal },
): Promise<HttpAnswer> {
  const { isSecure, hostname, port, path, host } = to;
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(networkFailure(error, signal));
    const request = (isSecure ? httpsRequest : httpRequest)({
      ...{ hostname, port, path, method, signal },
      agent: isSecure ? agents.https : agents.http,
      headers: {
        ...headers,
        ...(host !== undefined && { host }),
        ...(body !== '' && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      },
    });
    request.on('error', failed);
    request.on('response', (response) => {
      // Node's client answers no response without its status.
      const { statusCode: status = 0 } = response;
      const isFailure = status >= 400;
      const most = isFailure ? Math.min(maxBytes, MAX_FAILURE_BYTES) : maxBytes;
      const get = (name: string): string | null => {
        const value = response.headers[name];
        return typeof value === 'string' ? value : null;
      };
      const chunks: Buffer[] = [];
      let size = 0;
      const answered = (): void => resolve({ status, headers: { get }, body: joined(chunks, size) });
      response.on('error', failed);
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size <= most) return void chunks.push(chunk);
        if (isFailure) {
          size = most;
          chunks.push(chunk);
          answered();
        } else failed(tooLong(maxBytes));
        request.destroy();
      });
      response.on('end', answered);
    });
    request.end(body);
  });
}

function joined([first, ...more]: readonly Buffer[], size: number): Uint8Array {
  return first !== undefined && more.length === 0
    ? first
    : Buffer.concat(first ? [first, ...more] : [], size);
}

function tooLong(maxBytes: number): ConnectorError {
  return new ConnectorError('payload_too_large', `the answer is longer than ${maxBytes} bytes`, {
    details: { maxBytes },
  });
}
