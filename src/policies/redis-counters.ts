import { createHash } from 'node:crypto';
import type { RateLimitCounters } from '../contract/counters.ts';
import { loadPeer } from '../contract/peers.ts';
import { ConnectorError, invalidField } from '../errors/error.ts';

/** Counts in Redis; close them when they are not needed any more. */
export type RedisCounters = RateLimitCounters & { close(): void };

const CONNECT_MS = 2_000;
/** A connection on which a command waited so long is given up and made anew. */
const SILENCE_MS = 1_000;
const MAX_RECONNECT_MS = 1_000;

/** As the package's own script, in milliseconds: that one knows whole seconds alone, and windows may be shorter. */
const COUNT = `redis.call('set', KEYS[1], 0, 'PX', ARGV[2], 'NX')
local consumed = redis.call('incrby', KEYS[1], ARGV[1])
return {consumed, redis.call('pttl', KEYS[1])}`;

/**
 * Counts that all processes on one Redis share. Where it cannot be reached yet, each count rejects until it can.
 *
 * @throws ConnectorError `invalid_argument` for an address that is none, `unavailable` where `ioredis` is not installed;
 *   each count `unavailable`, which says why and never names the address: it may hold a password.
 */
export async function redisCounters(url: string): Promise<RedisCounters> {
  if (!/^rediss?:\/\//.test(url) || !URL.canParse(url))
    throw invalidField('redisUrl', 'is an address such as redis://user:password@host:6379/0');
  const { Redis } = await loadPeer('ioredis', '^6.0.0', () => import('ioredis'));
  const { RateLimiterRedis } = await import('rate-limiter-flexible');
  const redis = new Redis(url, {
    lazyConnect: true,
    // Of Redis 5 as well, and of proxies before it.
    protocol: 2,
    connectionName: 'connector-registry',
    connectTimeout: CONNECT_MS,
    socketTimeout: SILENCE_MS,
    // What cannot be counted now is counted elsewhere, and must not be counted here later as well.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: (attempt) => Math.min(attempt * 100, MAX_RECONNECT_MS),
    // After a failover the name may lead elsewhere than the connection does, to what may only be read now.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
  });
  let refusal: string | undefined;
  redis.on('error', (error) => (refusal = reasonOf(error)));
  redis.on('ready', () => (refusal = undefined));
  const limiter = new RateLimiterRedis({
    storeClient: redis,
    keyPrefix: 'connector-registry:rate-limit',
    customIncrTtlLuaScript: COUNT,
    // The limit differs by connector and is compared in the policy.
    points: Number.MAX_SAFE_INTEGER,
    duration: 1,
  });
  // It goes on trying by itself.
  await redis.connect().catch(() => {});
  return {
    async count(key, windowMs, more = 1) {
      try {
        const { consumedPoints, msBeforeNext } = await limiter.consume(hash(key), more, {
          // What the package takes for seconds reaches the script as it is, in whole numbers.
          customDuration: Math.max(1, Math.round(windowMs)),
        });
        return { attempts: consumedPoints, leftMs: Math.max(0, msBeforeNext) };
      } catch (error) {
        // Without the cause: a reply of Redis carries the command that it is for, also one with the password.
        throw new ConnectorError('unavailable', refusal ?? reasonOf(error));
      }
    },
    close: () => redis.disconnect(),
  };
}

/** No name of a tenant stands in Redis. */
function hash(key: string): string {
  return createHash('sha256').update(key).digest('base64url');
}

function reasonOf(error: unknown): string {
  const { code, message = '' } = error as { readonly code?: unknown; readonly message?: string };
  if (typeof code === 'string') return `Redis cannot be reached (${code})`;
  // The first word of an answer is its code. https://redis.io/docs/latest/develop/reference/protocol-spec/, read 2026-11-28
  const [reply] = /^[A-Z]{3,}(?= )/.exec(message) ?? [];
  if (reply === 'WRONGPASS' || reply === 'NOAUTH' || message.startsWith('ERR invalid password'))
    return 'Redis refused the user or the password in its address';
  return reply === undefined ? 'Redis cannot be reached' : `Redis answered ${reply}`;
}
