import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../contract/clock.ts';
import { ConnectorError, invalidField } from '../errors/error.ts';
import type { ApiKeyRecord, Role, Store } from '../store/store.ts';

const REMEMBERED_KEYS = 1_000;

/** An API key to be made. */
export type NewApiKey = {
  /** Null makes a key for all tenants, which only an administrator may be. */
  readonly tenantId: string | null;
  readonly role: Role;
  /** What the key is for, in the words of whoever made it. */
  readonly label?: string;
};

/** `key` is shown this once. */
export type MadeApiKey = { readonly key: string; readonly record: ApiKeyRecord };

/** API keys: made once, shown once, kept as a hash. */
export class ApiKeys {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #checkTenant: (tenantId: string | null) => void;
  /** Keys that were found lately, by hash; forgotten as soon as any key is revoked. */
  readonly #found = new Map<string, ApiKeyRecord>();
  #revocations = 0;

  /** @param checkTenant throws for a tenant that can have no keys. */
  constructor(store: Store, clock: Clock, checkTenant: (tenantId: string | null) => void = () => {}) {
    this.#store = store;
    this.#clock = clock;
    this.#checkTenant = checkTenant;
  }

  /**
   * A new key: `key` is shown this once, and only its hash is stored.
   *
   * @throws ConnectorError `invalid_argument`; `invalid_state` for the tenant of the file connector for results.
   */
  async create(wanted: NewApiKey): Promise<MadeApiKey> {
    this.#checkTenant(wanted.tenantId);
    const made = this.#make(wanted);
    await this.#store.insertKey(made.record);
    return made;
  }

  /** The first key of a registry, an administrator's; undefined where there is one already, or was. */
  async createFirst(label: string): Promise<MadeApiKey | undefined> {
    const made = this.#make({ tenantId: null, role: 'admin', label });
    return (await this.#store.insertFirstKey(made.record)) ? made : undefined;
  }

  #make({ tenantId, role, label = '' }: NewApiKey): MadeApiKey {
    if (tenantId === null && role !== 'admin')
      throw invalidField('tenant_id', 'is needed for a key that is not an administrator');
    // It is shown on terminals, and PostgreSQL stores no NUL.
    if (/\p{Cc}/u.test(label)) throw invalidField('label', 'has no control characters');
    const keyId = randomBytes(6).toString('hex');
    const key = `crk_${keyId}_${randomBytes(32).toString('base64url')}`;
    const createdAt = new Date(this.#clock.now());
    const record = { keyId, tenantId, role, label, hash: hashOf(key), createdAt, revokedAt: null };
    return { key, record };
  }

  /** @throws ConnectorError `unauthenticated` for a key that is unknown or revoked; both read the same. */
  async verify(key: string): Promise<ApiKeyRecord> {
    const hash = hashOf(key);
    const revocations = this.#revocations;
    const record = this.#remembered(hash) ?? (await this.#store.findKeyByHash(hash));
    // The lookup is by a hash, so its timing says nothing of the key; the comparison guards against a lax index.
    if (!record || !timingSafeEqual(Buffer.from(record.hash, 'hex'), Buffer.from(hash, 'hex'))) {
      throw new ConnectorError(
        'unauthenticated',
        'the API key is not valid; make one with: connectors keys create',
      );
    }
    if (this.#found.size >= REMEMBERED_KEYS) this.#found.clear();
    // A key that was revoked while it was looked up must not be remembered.
    if (revocations === this.#revocations) this.#found.set(hash, record);
    return record;
  }

  /** A key that was found lately, without a look at the store. */
  remembered(key: string): ApiKeyRecord | undefined {
    return this.#remembered(hashOf(key));
  }

  #remembered(hash: string): ApiKeyRecord | undefined {
    // One that may have been revoked elsewhere is looked up again.
    return (this.#store.peers?.isCurrent() ?? true) ? this.#found.get(hash) : undefined;
  }

  /** Keys of a tenant, or of all for `null`; the newest last. */
  list(tenantId: string | null): Promise<readonly ApiKeyRecord[]> {
    return this.#store.listKeys(tenantId);
  }

  /** Ends a key at once; false where there was none. */
  async revoke(tenantId: string | null, keyId: string): Promise<boolean> {
    // No key has such an id, and PostgreSQL refuses to be asked.
    if (keyId.includes('\0')) return false;
    const revoked = await this.#store.revokeKey(tenantId, keyId, new Date(this.#clock.now()));
    this.forget();
    return revoked;
  }

  /** Some key was revoked: none is remembered any more. */
  forget(): void {
    this.#revocations += 1;
    this.#found.clear();
  }
}

function hashOf(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}
