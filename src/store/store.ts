import type { ConnectorActivity, ConnectorRecord } from '../connectors/base.ts';
import type { ConnectorStatus, ConnectorType } from '../connectors/kinds.ts';
import type {
  ClaimWant,
  DueAfter,
  DueConnectors,
  InvocationClaim,
  InvocationDeferral,
  InvocationEnd,
  InvocationFilter,
  InvocationLease,
  InvocationRecord,
  InvocationSummary,
} from '../connectors/serverless/invocations.ts';
import type { Peers } from './peers.ts';

/** One sealed credential. `sealed` is opaque text that names the key it was sealed with. */
export type SealedSecret = { readonly field: string; readonly keyId: string; readonly sealed: string };

/** Where one of all credentials is, in their order. */
export type SecretPosition = Pick<ConnectorRecord, 'connectorId' | 'tenantId'> & Pick<SealedSecret, 'field'>;

export type Resealed = {
  readonly resealed: number;
  /** Those that were left as they are, and why. */
  readonly failed: readonly (SecretPosition & { readonly error: unknown })[];
  /** What to go on after; undefined at the end. */
  readonly next: SecretPosition | undefined;
};

export type StoredConnector = { readonly record: ConnectorRecord; readonly activity: ConnectorActivity };
export type NewConnector = StoredConnector & { readonly secrets: readonly SealedSecret[] };

export type ListFilter = {
  /** Absent: all tenants, for administrators. */
  readonly tenantId?: string | undefined;
  /** Only connectors of exactly this name. */
  readonly name?: string | undefined;
  readonly connectorType?: ConnectorType | undefined;
  readonly status?: ConnectorStatus | undefined;
  readonly limit: number;
  readonly offset: number;
};

export type StoreStatistics = {
  readonly byType: Readonly<Partial<Record<ConnectorType, number>>>;
  readonly byStatus: Readonly<Partial<Record<ConnectorStatus, number>>>;
  readonly totalConnections: number;
  readonly totalErrors: number;
};

/** The fact that names the master key of a registry, whether something is sealed with it yet or not. */
export const MASTER_KEY_FACT = 'master_key_id';

export type Role = 'admin' | 'operator' | 'reader';

/** An API key as it is kept: its hash, never itself. `tenantId` null is an administrator of all tenants. */
export type ApiKeyRecord = {
  readonly keyId: string;
  readonly tenantId: string | null;
  readonly role: Role;
  readonly label: string;
  /** SHA-256 of the key, in hex. */
  readonly hash: string;
  readonly createdAt: Date;
  readonly revokedAt: Date | null;
};

export type InvocationResultFile = Pick<InvocationRecord, 'tenantId' | 'connectorId'> & {
  readonly resultFile: string;
};

/** What happened to one connector in this process since it was last stored, written in batches. */
export type ActivityChange = {
  readonly tenantId: string;
  readonly connectorId: string;
  /** As it looks to this process. */
  readonly activity: ConnectorActivity;
  /** How much of that is new. */
  readonly since: {
    readonly connections: number;
    readonly errors: number;
    /** Whether the status was set here, be it to what it was before. */
    readonly isMoved: boolean;
    /** What the status was before that, as this process knew it. */
    readonly from: ConnectorActivity['status'];
  };
};
export type StoredActivity = Omit<ActivityChange, 'since'>;

/** What tells whether a connector changed without reading it. */
export type ConnectorState = Pick<ConnectorActivity, 'status' | 'connectionCount' | 'errorCount'> &
  Pick<ConnectorRecord, 'connectorId'> & {
    /** Of the whole record: another one where the id is another connector's by now. */
    readonly recordCheck: number;
  };

/** Whose health is to be looked at now. */
export type ProbeWant = {
  readonly now: Date;
  /** When it is looked at again, asked for each of them: until then nobody else gets it, whatever becomes of this process. */
  readonly nextAt: () => Date;
  readonly limit: number;
  /** The id of this process's data directory: what embedded engines keep in another one is left out. */
  readonly home?: string | undefined;
};
export type ClaimedProbe = Pick<ConnectorRecord, 'tenantId' | 'connectorId'> & { readonly nextAt: Date };

/**
 * Where the registry keeps connectors, secrets, keys and invocations.
 *
 * Every write is durable when it resolves, and whole or absent after a crash. Every method that touches a tenant's
 * things takes the tenant; there is no way to name another's. `tenantId: null` where it is allowed means any tenant,
 * and only an administrator's code path passes it.
 */
export interface Store {
  /** The processes that use it at the same time; undefined where this one has it to itself. */
  readonly peers: Peers | undefined;
  /** All in one transaction. @throws ConnectorError `already_exists` naming the first name or id taken; then nothing is stored. */
  insertConnectors(connectors: readonly NewConnector[]): Promise<void>;
  getConnector(tenantId: string | null, connectorId: string): Promise<StoredConnector | undefined>;
  getConnectorByName(tenantId: string, name: string): Promise<StoredConnector | undefined>;
  /** Sorted by name, then id. */
  listConnectors(filter: ListFilter): Promise<readonly StoredConnector[]>;
  /**
   * Replaces the record where its stored version is `record.version - 1`, and the secrets where some are given. What
   * happened to the connector stays.
   *
   * False where there is no such row. @throws ConnectorError `conflict` when the version is another, or the connector is
   *   one that got the id later; `already_exists` when the name is taken.
   */
  updateConnector(record: ConnectorRecord, secrets: readonly SealedSecret[] | undefined): Promise<boolean>;
  /** Removes the connector with its secrets and invocations. False where there was none. */
  deleteConnector(tenantId: string, connectorId: string): Promise<boolean>;
  /** Removes everything of a tenant but its API keys; the ids of the connectors removed. */
  clearTenant(tenantId: string): Promise<readonly string[]>;
  /** Tenants that have a connector, sorted. */
  listTenants(): Promise<readonly string[]>;
  getSecrets(tenantId: string, connectorId: string): Promise<readonly SealedSecret[]>;
  /** The connector and its secrets as they are at one moment. */
  getConnectorWithSecrets(tenantId: string, connectorId: string): Promise<NewConnector | undefined>;
  /** Ids of the master keys that stored secrets are sealed with. */
  listKeyIdsInUse(): Promise<readonly string[]>;
  /** How many stored secrets each of them sealed, by their ids; reads all of them. */
  countSecretsByKey(): Promise<readonly { readonly keyId: string; readonly secrets: number }[]>;
  /**
   * Replaces secrets of all tenants that another key than `keyId` sealed, `limit` at most, all in one transaction. One
   * that changes meanwhile is left as it was changed.
   *
   * @param reseal answers what takes a secret's place; where it throws, the secret stays.
   */
  resealSecrets(
    which: {
      readonly keyId: string;
      readonly after?: SecretPosition | undefined;
      readonly limit: number;
    },
    reseal: (secret: SealedSecret & SecretPosition) => SealedSecret,
  ): Promise<Resealed>;
  /**
   * Adds what happened to what is stored, whoever stored it, in one transaction; connectors that are gone are skipped. A
   * connector is `connected` for as long as one process has it so, and `deprecated` until somebody says otherwise.
   *
   * @returns what is stored by now.
   */
  saveActivity(changes: readonly ActivityChange[]): Promise<readonly StoredActivity[]>;
  /** Connectors of all tenants by their ids, for administrators; those that are gone or damaged are left out. */
  getConnectors(connectorIds: readonly string[]): Promise<readonly StoredConnector[]>;
  /** The same of their states alone. Damaged ones are among them. */
  getConnectorStates(connectorIds: readonly string[]): Promise<readonly ConnectorState[]>;
  statistics(tenantId: string | null): Promise<StoreStatistics>;

  insertKey(key: ApiKeyRecord): Promise<void>;
  /** The same where no key was ever made, by whichever process; false where one was. */
  insertFirstKey(key: ApiKeyRecord): Promise<boolean>;
  /** The key that is not revoked and has this hash. */
  findKeyByHash(hash: string): Promise<ApiKeyRecord | undefined>;
  listKeys(tenantId: string | null): Promise<readonly ApiKeyRecord[]>;
  /** False where there was none, or it was revoked before. */
  revokeKey(tenantId: string | null, keyId: string, at: Date): Promise<boolean>;

  /**
   * See `InvocationLog.add`.
   *
   * @throws ConnectorError `not_found` where the tenant has no such connector, `rate_limited` where too much of the
   *   tenant's waits already.
   */
  addInvocation(
    invocation: InvocationRecord,
  ): Promise<{ readonly record: InvocationRecord; readonly isNew: boolean }>;
  /** See `InvocationQueue.claim`. */
  claimInvocations(wants: readonly ClaimWant[], now: Date, leaseEnd: Date): Promise<InvocationClaim>;
  /** See `InvocationQueue.renew`. */
  renewInvocations(leases: readonly InvocationLease[], leaseEnd: Date): Promise<readonly InvocationLease[]>;
  /** False where another worker holds it by now, or it has ended. */
  endInvocation(lease: Omit<InvocationLease, 'connectorId'>, end: InvocationEnd): Promise<boolean>;
  /** The same. */
  deferInvocation(
    lease: Omit<InvocationLease, 'connectorId'>,
    deferral: InvocationDeferral,
  ): Promise<boolean>;
  /** Ends what has not ended, whoever holds it: as it is then, and as it was before. */
  cancelInvocation(
    tenantId: string,
    connectorId: string,
    requestId: string,
    end: InvocationEnd,
  ): Promise<{ readonly record: InvocationRecord; readonly before: InvocationRecord } | undefined>;
  getInvocation(
    tenantId: string,
    connectorId: string,
    requestId: string,
  ): Promise<InvocationRecord | undefined>;
  /** Newest first. */
  listInvocations(
    tenantId: string,
    connectorId: string,
    filter: InvocationFilter,
  ): Promise<readonly InvocationSummary[]>;
  /** Of these, the ones that have ended, or are gone. For administrators. */
  endedInvocations(requestIds: readonly string[]): Promise<readonly string[]>;
  /** Some of the connectors with an invocation that is due. @param after what the look before answered. */
  dueInvocations(now: Date, after: DueAfter): Promise<DueConnectors>;
  /** Makes all that runs due at once; for who knows that no other process is at it. */
  releaseInvocations(now: Date): Promise<void>;
  /**
   * Removes what expired before `at`; the number removed.
   *
   * @param forget is told of results in files before their rows go, so that a crash leaves no file that nothing names.
   */
  removeExpiredInvocations(
    at: Date,
    forget?: (files: readonly InvocationResultFile[]) => Promise<void>,
  ): Promise<number>;

  /**
   * Connectors of all tenants that are `connected` or in `error` and were not looked at yet, or are due; those that wait
   * longest first. Of processes that ask at once, one gets each.
   */
  claimProbes(want: ProbeWant): Promise<readonly ClaimedProbe[]>;
  /**
   * Adds `failed` to the health checks of a connector that failed in a row, whoever made them; 0 says that one passed.
   *
   * @returns how many there are by now; 0 where there is no such connector.
   */
  countFailedChecks(
    checks: Pick<ConnectorRecord, 'tenantId' | 'connectorId'> & { readonly failed: number },
  ): Promise<number>;

  /** A small fact about the whole store by name, such as the check value of the master key. */
  getFact(name: string): Promise<string | undefined>;
  setFact(name: string, value: string): Promise<void>;
  /** The same where there is none of that name yet; the value that stands, be it another's. */
  claimFact(name: string, value: string): Promise<string>;

  /** Proves that the store answers. */
  ping(): Promise<void>;
  close(): Promise<void>;
}
