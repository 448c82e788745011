import { checkValue, damagedRow, verifyRow } from './check-value.ts';
import { type Engine, wordsOf } from './engine.ts';
import { prepared } from './prepared.ts';
import type { KeyRow } from './schema.ts';
import type { ApiKeyRecord, Role, Store } from './store.ts';

type KeyStore = Pick<Store, 'insertKey' | 'insertFirstKey' | 'findKeyByHash' | 'listKeys' | 'revokeKey'>;

/** Asked at every request of the server. */
const keyByHash = prepared<{ readonly hash: string }, KeyRow>((db, value) =>
  db.selectFrom('api_keys').selectAll().where('hash', '=', value('hash')).where('revoked_at', 'is', null),
);

/** The part of the store that keeps API keys. */
export function keyStore({ reader, writer }: Engine): KeyStore {
  return {
    async insertKey(key) {
      await writer(key.tenantId).insertInto('api_keys').values(keyRow(key)).execute();
    },

    insertFirstKey(key) {
      return writer(key.tenantId)
        .transaction()
        .execute(async (db) => {
          // Of processes that start at once, one finds none.
          await wordsOf(db).queue(db, 'first key');
          const made = await db.selectFrom('api_keys').select('key_id').limit(1).executeTakeFirst();
          if (!made) await db.insertInto('api_keys').values(keyRow(key)).execute();
          return made === undefined;
        });
    },

    async findKeyByHash(hash) {
      const { rows } = await keyByHash(reader(null), { hash });
      return rows[0] && apiKey(rows[0]);
    },

    async listKeys(tenantId) {
      const rows = await reader(tenantId)
        .selectFrom('api_keys')
        .selectAll()
        .$if(tenantId !== null, (q) => q.where('tenant_id', '=', tenantId))
        .orderBy('created_at')
        .orderBy('key_id')
        .execute();
      return rows.map(apiKey);
    },

    async revokeKey(tenantId, keyId, at) {
      const { numUpdatedRows } = await writer(tenantId)
        .updateTable('api_keys')
        .set(revokedColumns(keyId, at))
        .where('key_id', '=', keyId)
        .$if(tenantId !== null, (q) => q.where('tenant_id', '=', tenantId))
        .where('revoked_at', 'is', null)
        .executeTakeFirst();
      return numUpdatedRows > 0n;
    },
  };
}

function keyRow(key: ApiKeyRecord): KeyRow {
  const { keyId, tenantId, role, label, hash } = key;
  const createdAt = key.createdAt.getTime();
  return {
    key_id: keyId,
    tenant_id: tenantId,
    role,
    label,
    hash,
    created_at: createdAt,
    key_check: checkValue(keyId, tenantId, role, label, hash, createdAt),
    ...revokedColumns(keyId, key.revokedAt),
  };
}

// A check value of its own, so that revoking a key is one statement that need not read the others.
function revokedColumns(keyId: string, revokedAt: Date | null) {
  const time = revokedAt?.getTime() ?? null;
  return { revoked_at: time, revoked_check: checkValue(keyId, time) };
}

function apiKey(row: KeyRow): ApiKeyRecord {
  const {
    key_id: keyId,
    tenant_id: tenantId,
    label,
    hash,
    created_at: createdAt,
    revoked_at: revokedAt,
  } = row;
  verifyRow('API key', keyId, row.key_check, keyId, tenantId, row.role, label, hash, createdAt);
  verifyRow('API key', keyId, row.revoked_check, keyId, revokedAt);
  return {
    keyId,
    tenantId,
    role: role(row),
    label,
    hash,
    createdAt: new Date(createdAt),
    revokedAt: revokedAt === null ? null : new Date(revokedAt),
  };
}

function role({ key_id, role }: KeyRow): Role {
  if (role === 'admin' || role === 'operator' || role === 'reader') return role;
  throw damagedRow('API key', key_id);
}
