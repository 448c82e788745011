import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { ConnectorError, networkFailure, type Agents, type HttpAnswer } from '../../../driver.ts';
import type { Address } from './addresses.ts';

/** One request. */
export type Message = {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON text; none where it is empty. */
  readonly body: string;
};

/**
 * Sends one request and reads the answer whole, of which no more than `maxBytes` is ever held. No redirect is followed.
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
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('error', failed);
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size <= maxBytes) return void chunks.push(chunk);
        failed(tooLong(maxBytes));
        request.destroy();
      });
      response.on('end', () => {
        const get = (name: string): string | null => {
          const value = response.headers[name];
          return typeof value === 'string' ? value : null;
        };
        // Node's client answers no response without its status.
        resolve({ status: response.statusCode ?? 0, headers: { get }, body: joined(chunks, size) });
      });
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
