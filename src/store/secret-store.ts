import { sql } from 'kysely';
import type { ConnectorRecord } from '../connectors/base.ts';
import { checkValue, verifyRow } from './check-value.ts';
import { type Engine, wordsOf } from './engine.ts';
import { pacer } from './pacer.ts';
import { prepared } from './prepared.ts';
import type { SecretRow } from './schema.ts';
import type { SealedSecret, SecretPosition, Store } from './store.ts';

type SecretStore = Pick<Store, 'listKeyIdsInUse' | 'countSecretsByKey' | 'resealSecrets'>;

const START: SecretPosition = { connectorId: '', tenantId: '', field: '' };

/** Jumps from one key to the next: where there is an index, one look each, however many rows each has. */
const KEY_IDS = prepared<object, { readonly key_id: string }>(
  () =>
    sql<{ readonly key_id: string }>`
    with recursive used (id) as (
      select min(key_id) from secrets
      union all
      select (select min(key_id) from secrets where key_id > used.id) from used where used.id is not null
    )
    select id as key_id from used where id is not null`,
);

/** In the order of the primary key, so that a walk reads no row twice. Rows that another transaction holds are stepped over. */
const SEALED_OTHERWISE = prepared<
  SecretPosition & { readonly keyId: string; readonly limit: number },
  SecretRow
>((db, value) =>
  db
    .selectFrom('secrets')
    .selectAll()
    .where('key_id', '<>', value('keyId'))
    .where(
      sql<boolean>`(connector_id, tenant_id, field) > (${value('connectorId')}, ${value('tenantId')}, ${value('field')})`,
    )
    .orderBy('connector_id')
    .orderBy('tenant_id')
    .orderBy('field')
    .limit(value('limit'))
    .$call(wordsOf(db).holdFree),
);

const RESEAL = prepared<SecretRow & { readonly before: string }, never>((db, value) =>
  db
    .updateTable('secrets')
    .set({ key_id: value('key_id'), sealed: value('sealed'), secret_check: value('secret_check') })
    .where('connector_id', '=', value('connector_id'))
    .where('tenant_id', '=', value('tenant_id'))
    .where('field', '=', value('field'))
    .where('sealed', '=', value('before')),
);

/** The part of the store that looks at the credentials of all tenants by the keys that they are sealed with. */
export function secretStore({ reader, writer }: Engine): SecretStore {
  return {
    async listKeyIdsInUse() {
      const { rows } = await KEY_IDS(reader(null), {});
      return rows.map((row) => row.key_id);
    },

    async countSecretsByKey() {
      const rows = await reader(null)
        .selectFrom('secrets')
        .select(({ fn }) => ['key_id', fn.countAll<number>().as('secrets')])
        .groupBy('key_id')
        .orderBy('key_id')
        .execute();
      return rows.map((row) => ({ keyId: row.key_id, secrets: row.secrets }));
    },

    resealSecrets({ keyId, after = START, limit }, reseal) {
      return writer(null)
        .transaction()
        .execute(async (db) => {
          const pause = pacer();
          const { rows } = await SEALED_OTHERWISE(db, { ...after, keyId, limit });
          const failed: (SecretPosition & { readonly error: unknown })[] = [];
          let resealed = 0;
          for (const row of rows) {
            const anew = resealedRow(row, reseal);
            if ('error' in anew) failed.push({ ...positionOf(row), error: anew.error });
            else {
              const { numAffectedRows } = await RESEAL(db, { ...anew, before: row.sealed });
              resealed += Number(numAffectedRows);
            }
            await pause();
          }
          const last = rows.at(-1);
          return { resealed, failed, next: last && rows.length === limit ? positionOf(last) : undefined };
        });
    },
  };
}

/** The rows of a connector's credentials. */
export function secretRows(
  { connectorId, tenantId }: Pick<ConnectorRecord, 'connectorId' | 'tenantId'>,
  secrets: readonly SealedSecret[],
): readonly SecretRow[] {
  return secrets.map(({ field, keyId, sealed }) => ({
    connector_id: connectorId,
    tenant_id: tenantId,
    field,
    key_id: keyId,
    sealed,
    secret_check: checkValue(connectorId, tenantId, field, keyId, sealed),
  }));
}

/** @throws ConnectorError `internal` where the row is damaged. */
export function sealedSecret({
  connector_id,
  tenant_id,
  field,
  key_id: keyId,
  sealed,
  secret_check,
}: SecretRow): SealedSecret {
  verifyRow('secret of connector', connector_id, secret_check, connector_id, tenant_id, field, keyId, sealed);
  return { field, keyId, sealed };
}

function resealedRow(
  row: SecretRow,
  reseal: Parameters<Store['resealSecrets']>[1],
): SecretRow | { readonly error: unknown } {
  const { connectorId, tenantId } = positionOf(row);
  try {
    const { field, keyId, sealed } = reseal({ ...sealedSecret(row), connectorId, tenantId });
    const check = checkValue(connectorId, tenantId, field, keyId, sealed);
    return { ...row, field, key_id: keyId, sealed, secret_check: check };
  } catch (error) {
    return { error };
  }
}

function positionOf({ connector_id: connectorId, tenant_id: tenantId, field }: SecretRow): SecretPosition {
  return { connectorId, tenantId, field };
}
