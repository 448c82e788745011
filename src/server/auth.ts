import { RateLimiterMemory } from 'rate-limiter-flexible';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import type { Caller } from '../operations/operation.ts';
import type { ConnectorRegistry } from '../registry/registry.ts';

/** Failed authentications that one address may make in a window before it is told to wait. */
const MAX_FAILURES = 20;
const WINDOW_SECONDS = 60;

/** Who calls, and with which key. */
export type Authenticated = Caller & { readonly keyId: string };

/**
 * Finds out who calls, from the `Authorization` header.
 *
 * An address that keeps failing is answered `rate_limited`; a valid key passes even then, because behind a proxy, and
 * on the machine itself, many callers share one address. Guessing is hopeless anyway: a key holds 256 random bits.
 */
export class Authentication {
  readonly #registry: ConnectorRegistry;
  readonly #failures = new RateLimiterMemory({ points: MAX_FAILURES, duration: WINDOW_SECONDS });

  constructor(registry: ConnectorRegistry) {
    this.#registry = registry;
  }

  /** @throws ConnectorError `unauthenticated`; `rate_limited` after too many failures from the address. */
  async authenticate(header: string | undefined, address: string): Promise<Authenticated> {
    try {
      const [, key] = /^Bearer ([\x21-\x7e]{1,256})$/i.exec(header ?? '') ?? [];
      if (key === undefined)
        throw new ConnectorError('unauthenticated', 'an API key is needed: Authorization: Bearer KEY');
      const { tenantId, role, keyId } = await this.#registry.keys.verify(key);
      return { tenantId, role, keyId };
    } catch (error) {
      if (isConnectorError(error) && error.code === 'unauthenticated') await this.#count(address);
      throw error;
    }
  }

  async #count(address: string): Promise<void> {
    const waitMs = await this.#failures.consume(address).then(
      () => undefined,
      (refused: { readonly msBeforeNext: number }) => refused.msBeforeNext,
    );
    if (waitMs === undefined) return;
    throw new ConnectorError(
      'rate_limited',
      'too many requests without a valid API key came from this address',
      {
        retryAfterMs: Math.max(1, waitMs),
      },
    );
  }
}
