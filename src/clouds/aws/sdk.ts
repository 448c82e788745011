import { ConnectorError, networkFailure, type Agents } from '../../driver.ts';

/** The package of identities, which is loaded for roles and the host's own. */
export const CREDENTIALS_PEER = { '@aws-sdk/credential-providers': '^3.1100.0' } as const;

/** An answer with pages of a listing has some two megabytes. */
const MAX_ANSWER_BYTES = 32 * 2 ** 20;
const NO_LOG = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

export type Region = { readonly region: string };

/**
 * What all clients of the SDK have in common, of whichever service.
 *
 * Whatever is left out is read from the environment, from `~/.aws` or from the machine's metadata service, so that
 * everything is said here. `silenceMs` is a backstop alone, and longer than any answer may take: the signal of a call ends it.
 */
export function baseConfig({ region }: Region, { http, https }: Agents, silenceMs: number) {
  return {
    region,
    // Ours are the only repetitions.
    maxAttempts: 1,
    retryMode: 'standard',
    defaultsMode: 'standard',
    useDualstackEndpoint: false,
    useFipsEndpoint: false,
    disableClockSkewCorrection: false,
    authSchemePreference: [],
    userAgentAppId: 'connector-registry',
    logger: NO_LOG,
    streamCollector: wholeOf,
    requestHandler: {
      httpAgent: http,
      httpsAgent: https,
      // The agents have a time of their own for connecting; this one counts the wait for a free connection as well.
      connectionTimeout: silenceMs,
      requestTimeout: silenceMs,
      throwOnRequestTimeout: true,
      socketTimeout: silenceMs,
      // Otherwise the console is told of many requests that wait for a connection.
      logger: NO_LOG,
    },
  } as const;
}

/** The address of a service of AWS in the region. */
export function amazonEndpoint(service: 'lambda' | 's3' | 'sts', { region }: Region): string {
  return `https://${service}.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
}

/** What `task` answers, or at once the end of the signal: the SDK asks for credentials without it. */
export function until<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(networkFailure(signal.reason, signal));
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    task()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** An answer as one, of which no more is read than there is room for: the SDK itself would read whatever comes. */
export async function collected(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
  tooLong: () => ConnectorError,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) throw tooLong();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes);
}

function wholeOf(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return collected(body, MAX_ANSWER_BYTES, () => {
    const message = `the backend answered more than ${MAX_ANSWER_BYTES} bytes at once`;
    return new ConnectorError('backend_error', message, { details: { maxBytes: MAX_ANSWER_BYTES } });
  });
}
