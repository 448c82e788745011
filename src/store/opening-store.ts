import { storedConnector } from './connector-rows.ts';
import type { Engine } from './engine.ts';
import { prepared } from './prepared.ts';
import type { ConnectorRow, SecretRow } from './schema.ts';
import { sealedSecret } from './secret-store.ts';
import type { Store } from './store.ts';

type Id = { readonly tenantId: string; readonly connectorId: string };
type SecretColumns = Pick<SecretRow, 'field' | 'key_id' | 'sealed' | 'secret_check'>;
type Row = ConnectorRow & { readonly [K in keyof SecretColumns]: SecretColumns[K] | null };

/** A row for each secret, or one without any. */
const CONNECTOR_WITH_SECRETS = prepared<Id, Row>((db, value) =>
  db
    .selectFrom('connectors')
    .leftJoin('secrets', (join) =>
      join
        .onRef('secrets.connector_id', '=', 'connectors.connector_id')
        .onRef('secrets.tenant_id', '=', 'connectors.tenant_id'),
    )
    .selectAll('connectors')
    .select(['secrets.field', 'secrets.key_id', 'secrets.sealed', 'secrets.secret_check'])
    .where('connectors.connector_id', '=', value('connectorId'))
    .where('connectors.tenant_id', '=', value('tenantId'))
    .orderBy('secrets.field'),
);

/** The part of the store that a client is opened from. */
export function openingStore({ reader }: Engine): Pick<Store, 'getConnectorWithSecrets'> {
  return {
    async getConnectorWithSecrets(tenantId, connectorId) {
      const { rows } = await CONNECTOR_WITH_SECRETS(reader(tenantId), { tenantId, connectorId });
      const [first] = rows;
      if (!first) return undefined;
      return { ...storedConnector(first), secrets: rows.flatMap(secretsOf) };
    },
  };
}

function secretsOf({ connector_id, tenant_id, field, key_id, sealed, secret_check }: Row) {
  if (field === null || key_id === null || sealed === null || secret_check === null) return [];
  return [sealedSecret({ connector_id, tenant_id, field, key_id, sealed, secret_check })];
}
