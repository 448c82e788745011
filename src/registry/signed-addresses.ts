import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { ConnectorRecord } from '../connectors/base.ts';
import type { FileConnector } from '../connectors/file/connector.ts';
import type { PresignedUrl, PresignOptions } from '../connectors/file/driver.ts';
import type { Clock } from '../contract/clock.ts';
import { ConnectorError } from '../errors/error.ts';
import type { Cipher } from '../secrets/cipher.ts';

/** Where our server answers signed addresses, below its own address. */
export const SIGNED_PREFIX = '/signed';
/** Where it takes what platforms say of invocations. */
export const CALLBACK_PREFIX = '/callbacks';
/** No credential can have these names: a blank is in no option's. */
const FIELD = 'signed address';
const CALLBACK_FIELD = 'invocation callback';

const permit = z.strictObject({
  place: z.string(),
  path: z.string(),
  method: z.enum(['GET', 'PUT']),
  until: z.int(),
  contentType: z.string().optional(),
  maxBytes: z.int().optional(),
});

/** What the holder of a signed address may do. */
export type SignedUse = {
  /** Relative to the connector's base path. */
  readonly path: string;
  readonly contentType?: string | undefined;
  readonly maxBytes?: number | undefined;
};

/**
 * Addresses of our own server for files of backends that sign none.
 *
 * What an address permits is sealed in it for its tenant and connector, as credentials are: it cannot be read, altered
 * or used on another connector, and it ends with the master key that sealed it.
 */
export class SignedAddresses {
  readonly #cipher: Cipher;
  readonly #clock: Clock;
  #serverUrl: string | undefined;

  constructor({ cipher, clock, serverUrl }: { cipher: Cipher; clock: Clock; serverUrl: string | undefined }) {
    this.#cipher = cipher;
    this.#clock = clock;
    this.#serverUrl = serverUrl;
  }

  /** The server listens at this address, which counts unless the operator named another. */
  servedAt(url: string): void {
    this.#serverUrl ??= url;
  }

  /** @param key the path from the root, base path included. `undefined` where no server is known. */
  sign(
    { tenantId, connectorId, config }: Pick<ConnectorRecord, 'tenantId' | 'connectorId' | 'config'>,
    key: string,
    { method, expiresInSeconds, contentType, maxBytes }: PresignOptions,
  ): PresignedUrl | undefined {
    if (this.#serverUrl === undefined) return undefined;
    const until = this.#clock.now() + expiresInSeconds * 1_000;
    const text = JSON.stringify({ place: placeOf(config), path: key, method, until, contentType, maxBytes });
    const sealed = this.#cipher.seal(text, { tenantId, connectorId, field: FIELD });
    return {
      url: `${this.#serverUrl.replace(/\/+$/, '')}${SIGNED_PREFIX}/${encodeURIComponent(connectorId)}/${sealed}`,
      method,
      headers: contentType === undefined ? {} : { 'content-type': contentType },
      expiresAt: new Date(until),
    };
  }

  /** @throws ConnectorError `permission_denied`, in the same words whatever is wrong. */
  redeem(connector: FileConnector, sealed: string, method: 'GET' | 'PUT'): SignedUse {
    const { tenantId, connectorId, basePath, config } = connector;
    const given = this.#permitIn(sealed, { tenantId, connectorId });
    const root = basePath === '' ? '' : `${basePath}/`;
    if (given?.method !== method || given.until <= this.#clock.now()) throw invalidAddress();
    // The connector may lead elsewhere since: an address is for the file that it was made for, and for no other.
    if (given.place !== placeOf(config) || !given.path.startsWith(root)) throw invalidAddress();
    const { path, contentType, maxBytes } = given;
    return { path: path.slice(root.length), contentType, maxBytes };
  }

  /** Where a platform reports the end of an invocation; `undefined` where no server is known. */
  callbackUrl(
    { tenantId, connectorId }: Pick<ConnectorRecord, 'tenantId' | 'connectorId'>,
    requestId: string,
  ): string | undefined {
    if (this.#serverUrl === undefined) return undefined;
    const sealed = this.#cipher.seal(requestId, { tenantId, connectorId, field: CALLBACK_FIELD });
    const at = `${CALLBACK_PREFIX}/${encodeURIComponent(connectorId)}/${sealed}`;
    return this.#serverUrl.replace(/\/+$/, '') + at;
  }

  /** The invocation that a callback is for. @throws ConnectorError `permission_denied`. */
  redeemCallback(
    { tenantId, connectorId }: Pick<ConnectorRecord, 'tenantId' | 'connectorId'>,
    sealed: string,
  ): string {
    try {
      return this.#cipher.open(sealed, { tenantId, connectorId, field: CALLBACK_FIELD });
    } catch {
      throw invalidAddress();
    }
  }

  #permitIn(sealed: string, place: Pick<ConnectorRecord, 'tenantId' | 'connectorId'>) {
    try {
      return permit.parse(JSON.parse(this.#cipher.open(sealed, { ...place, field: FIELD })));
    } catch {
      return undefined;
    }
  }
}

/** Names where a connector leads, without telling it. */
function placeOf({ endpoint, options }: ConnectorRecord['config']): string {
  return createHash('sha256')
    .update(JSON.stringify([endpoint ?? null, options]))
    .digest('base64url');
}

/** One error for every reason: which of them it is would tell about connectors and keys. */
export function invalidAddress(): ConnectorError {
  return new ConnectorError(
    'permission_denied',
    'the signed address is not valid, or no longer; ask for a new one',
  );
}
