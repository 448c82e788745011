import { ConnectorError } from '../errors/error.ts';
import type { Caller } from '../operations/operation.ts';
import type { ConnectorRegistry } from '../registry/registry.ts';
import type { LookUps } from './look-ups.ts';

/** Who calls, and with which key. */
export type Authenticated = Caller & { readonly keyId: string };

/** Finds out who calls, from the `Authorization` header. A key that was found lately is not looked up. */
export class Authentication {
  readonly #registry: ConnectorRegistry;
  readonly #lookUps: LookUps;

  constructor(registry: ConnectorRegistry, lookUps: LookUps) {
    this.#registry = registry;
    this.#lookUps = lookUps;
  }

  /** @throws ConnectorError `unauthenticated`; `rate_limited` and `unavailable` as {@link LookUps.run}. */
  async authenticate(header: string | undefined, address: string): Promise<Authenticated> {
    const { keys } = this.#registry;
    const [, key] = /^Bearer ([\x21-\x7e]{1,256})$/i.exec(header ?? '') ?? [];
    if (key === undefined) {
      await this.#lookUps.failed(address);
      throw new ConnectorError('unauthenticated', 'an API key is needed: Authorization: Bearer KEY');
    }
    const found = keys.remembered(key) ?? (await this.#lookUps.run(address, () => keys.verify(key)));
    const { tenantId, role, keyId } = found;
    return { tenantId, role, keyId };
  }
}
