import { AsyncLocalStorage } from 'node:async_hooks';
import { isIP, isIPv4 } from 'node:net';
import type * as Sdk from '@zilliz/milvus2-sdk-node';
import { ConnectorError, loadPeer, networkFailure, targetOf } from '../../../driver.ts';
import { milvusFailure } from './errors.ts';
import type { MilvusOptions } from './options.ts';

export const PEER_RANGE = '^3.0.6';

/** The deadline of every call, in milliseconds. It is for the server's sake: callers end calls by their signals. */
export const CALL_TIMEOUT_MS = 10 * 60_000;
const CONNECTIONS = 8;
// An answer is at most 64 MB (https://milvus.io/docs/limitations.md, read 2026-11-25); a server that sends more is none.
const MAX_ANSWER_BYTES = 128 * 2 ** 20;

/** The SDK's client, with what it does not do by itself: a signal for each call, and a close that leaves nothing. */
export type Connection = {
  /**
   * Runs calls of the SDK, all of which end when the signal is aborted.
   *
   * @throws ConnectorError, whatever the SDK threw.
   */
  during<T>(signal: AbortSignal, task: (sdk: Sdk.MilvusClient) => Promise<T>): Promise<T>;
  close(): Promise<void>;
};

/** The SDK, where it is installed. */
export function loadSdk(): Promise<typeof Sdk> {
  return loadPeer('@zilliz/milvus2-sdk-node', PEER_RANGE, () => import('@zilliz/milvus2-sdk-node'));
}

/**
 * A client of the addresses that were checked. It resolves no name, and nothing is sent before the first `during`.
 *
 * @param addresses of the endpoint's host, in the order to try them.
 */
export function connection(
  { MilvusClient }: typeof Sdk,
  options: MilvusOptions,
  addresses: readonly string[],
): Connection {
  const { endpoint, token, username, password, database, ca } = options;
  const { host, port, tls } = targetOf(endpoint, ca);
  const signals = new AsyncLocalStorage<AbortSignal>();
  const sdk = new MilvusClient({
    address: targetName(addresses, port),
    ssl: tls !== undefined,
    ...(tls && {
      tls: {
        ...(ca !== undefined && { rootCert: Buffer.from(ca) }),
        // The certificate is the name's, though the connection goes to an address.
        ...(isIP(host) === 0 && { serverName: host }),
      },
    }),
    ...(token !== undefined && { token }),
    ...(username !== undefined && password !== undefined && { username, password }),
    database,
    maxRetries: 0,
    timeout: CALL_TIMEOUT_MS,
    telemetry: { enabled: false },
    // Its logger writes to the console, everything when NODE_ENV is "test"; at this level it says nothing at all.
    logLevel: 'error',
    pool: { min: 0, max: CONNECTIONS },
    __SKIP_CONNECT__: true,
    channelOptions: {
      'grpc.default_authority': new URL(endpoint).host,
      // A proxy of the environment would reach what the egress rule forbids.
      'grpc.enable_http_proxy': 0,
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      // Otherwise connections are shared by the whole process, and outlive the client.
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_reconnect_backoff_ms': 5_000,
      'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
    },
  });
  endBySignal(sdk, signals);
  const channels = channelsOf(sdk);

  let started = false;
  return {
    async during(signal, task) {
      if (signal.aborted) throw networkFailure(signal.reason, signal);
      // A signal of its own, so that what listens to it is forgotten with the task.
      const ended = new AbortController();
      const { promise: aborted, reject } = Promise.withResolvers<never>();
      const onAbort = (): void => {
        ended.abort();
        reject(networkFailure(signal.reason, signal));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      try {
        return await Promise.race([
          signals.run(ended.signal, async () => {
            if (!started) await start();
            return await task(sdk);
          }),
          aborted,
        ]);
      } catch (error) {
        throw milvusFailure(error, signal);
      } finally {
        signal.removeEventListener('abort', onAbort);
      }
    },
    async close() {
      // The SDK closes a channel and then asks it for its state such that it connects again, and stays so.
      for (const channel of channels) channel.close();
      Object.assign(sdk, { channelPool: undefined });
      await sdk.closeConnection();
    },
  };

  /** The SDK's first request, which its others wait for; its constructor would send it with nobody to see it fail. */
  async function start(): Promise<void> {
    sdk.connect(MilvusClient.sdkInfo.version ?? '');
    await sdk.connectPromise;
    started = true;
  }
}

/** A target of gRPC that holds addresses alone; its resolvers of these schemes ask nobody. */
function targetName(addresses: readonly string[], port: number): string {
  const [first] = addresses;
  if (first === undefined) throw new ConnectorError('unavailable', 'the host has no address');
  const v4 = isIPv4(first);
  const alike = addresses.filter((address) => isIPv4(address) === v4);
  return v4
    ? `ipv4:${alike.map((address) => `${address}:${port}`).join(',')}`
    : `ipv6:${alike.map((address) => `[${address}]:${port}`).join(',')}`;
}

/** The channels that the SDK's pool has made so far: each one that calls go through was acquired once. */
function channelsOf({ channelPool: pool }: Sdk.MilvusClient): ReadonlySet<{ close(): void }> {
  const channels = new Set<{ close(): void }>();
  const acquire = pool.acquire.bind(pool);
  pool.acquire = async (priority) => {
    const channel = await acquire(priority);
    channels.add(channel);
    return channel;
  };
  return channels;
}

/** Cancels each call when the signal of the task that made it is aborted: the SDK itself takes no signals. */
function endBySignal(sdk: Sdk.MilvusClient, signals: AsyncLocalStorage<AbortSignal>): void {
  type Call = { cancelWithStatus(status: number, details: string): void };
  const interceptor = (options: unknown, next: (options: unknown) => Call): Call => {
    const signal = signals.getStore();
    signal?.throwIfAborted();
    const call = next(options);
    signal?.addEventListener('abort', () => call.cancelWithStatus(1, 'given up'), { once: true });
    return call;
  };
  // The clients of its pool are made later, and from these options.
  const { interceptors } = sdk.channelOptions as unknown as { readonly interceptors: unknown[] };
  interceptors.push(interceptor);
}
