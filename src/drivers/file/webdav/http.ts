import { request as requestHttp, type ClientRequest, type IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import {
  ConnectorError,
  isConnectorError,
  networkFailure,
  targetOf,
  type Agents,
  type Clock,
} from '../../../driver.ts';
import type { Credentials } from './credentials.ts';
import { sendChunks, type Content } from './upload.ts';

export type Verb = 'PROPFIND' | 'GET' | 'PUT' | 'DELETE' | 'MKCOL' | 'MOVE' | 'COPY';
export type Request = {
  readonly method: Verb;
  /** Path of the request, encoded. */
  readonly target: string;
  readonly headers?: Readonly<Record<string, string | number>>;
  readonly body?: Content;
};
/** An answer whose status is known and whose body is still to come; it has to be read, or given to `discard`. */
export type Answer = IncomingMessage & { readonly statusCode: number };

/** Without credentials, with them, and once more for a server whose challenge is over. */
const MAX_ATTEMPTS = 3;
/** What is read of a body that nobody needs, for the sake of its connection. */
const MAX_DISCARDED_BYTES = 65_536;
const MAX_DISCARDING_MS = 2_000;

export type HttpOptions = {
  readonly endpoint: string;
  readonly agents: Agents;
  readonly credentials: Credentials;
  readonly clock: Clock;
};

/**
 * Requests to one server over the guarded network. Nothing is followed, decoded, or repeated but for a challenge.
 *
 * On Node's own client and not on `fetch`, which would unpack a file that is stored packed, since servers say of such
 * a file (`.gz`) that it is encoded.
 */
export class Http {
  readonly #options: HttpOptions;
  readonly #where: { readonly host: string; readonly port: number };
  readonly #isSecure: boolean;

  constructor(options: HttpOptions) {
    const { host, port, tls } = targetOf(options.endpoint);
    this.#options = options;
    this.#where = { host, port };
    this.#isSecure = tls !== undefined;
  }

  get clock(): Clock {
    return this.#options.clock;
  }

  /** The answer, whatever its status. @throws ConnectorError where there is none, and what a source threw. */
  async send(request: Request, signal: AbortSignal): Promise<Answer> {
    const { credentials } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      const authorization = credentials.authorization(request);
      const answer = await this.#once(request, authorization, signal);
      if (answer.statusCode !== 401) {
        credentials.accepted(authorization);
        return answer;
      }
      const isRepeatable = request.body === undefined || request.body instanceof Uint8Array;
      const isKnownNow = credentials.challenged(answer.headers['www-authenticate'], authorization);
      if (!isKnownNow || !isRepeatable || attempt === MAX_ATTEMPTS) return answer;
      this.discard(answer);
    }
  }

  /** Lets go of a body: the connection is kept where little is left of it, and closed otherwise. */
  discard(answer: IncomingMessage): void {
    let bytes = 0;
    const cancel = this.clock.inBackground(MAX_DISCARDING_MS, () => answer.destroy());
    answer.on('error', () => {});
    answer.once('close', cancel);
    answer.on('data', (chunk: Uint8Array) => {
      bytes += chunk.byteLength;
      if (bytes > MAX_DISCARDED_BYTES) answer.destroy();
    });
  }

  close(): void {
    this.#options.agents.close();
  }

  async #once(
    { method, target, headers, body }: Request,
    authorization: string | undefined,
    signal: AbortSignal,
  ): Promise<Answer> {
    if (signal.aborted) throw networkFailure(signal.reason, signal);
    const { agents } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const options = {
      ...this.#where,
      method,
      path: target,
      signal,
      headers: {
        accept: '*/*',
        'accept-encoding': 'identity',
        'user-agent': 'connector-registry',
        ...(body instanceof Uint8Array && { 'content-length': body.byteLength }),
        ...headers,
        ...(authorization !== undefined && { authorization }),
      },
    };
    const request = this.#isSecure
      ? requestHttps({ ...options, agent: agents.https })
      : requestHttp({ ...options, agent: agents.http });
    // A socket may fail once more after the answer, and nobody would hear of it.
    request.on('error', reject);
    request.once('response', (answer) => resolve(answer as Answer)); // one that was received has a status
    if (body === undefined || body instanceof Uint8Array) request.end(body);
    else
      sendChunks(request, body).catch((error: unknown) => {
        reject(error);
        request.destroy();
      });
    try {
      const answer = await promise;
      if (!request.writableEnded) cutShort(request, answer);
      return answer;
    } catch (error) {
      throw failureOf(error, signal);
    }
  }
}

/** What is to be done with an answer that came before all was sent: a refusal is read, and ends the connection. */
function cutShort(request: ClientRequest, answer: Answer): void {
  if (answer.statusCode >= 300) {
    answer.once('end', () => request.destroy());
    return;
  }
  request.destroy();
  throw new ConnectorError('backend_error', 'the backend answered before it had the whole content');
}

/** A failure of the connection as ours; what a source of content threw is left as it is. */
export function failureOf(error: unknown, signal: AbortSignal): unknown {
  if (isConnectorError(error) || signal.aborted) return networkFailure(error, signal);
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  // The error itself would carry the packet that was received.
  if (code.startsWith('HPE_'))
    return new ConnectorError('backend_error', `the backend does not speak HTTP (${code})`, {
      details: { backend_code: code },
    });
  return networkFailure(error);
}
