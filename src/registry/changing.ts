import type { BaseConnector, ConnectorRecord } from '../connectors/base.ts';
import { ConnectorConfig } from '../connectors/config.ts';
import type { ConnectorStatus } from '../connectors/kinds.ts';
import { checkStatusMove } from '../connectors/status.ts';
import { parseWith } from '../contract/validate.ts';
import { isConnectorError } from '../errors/error.ts';
import { prepareConfig } from './making.ts';
import type { Parts } from './parts.ts';
import { notFound } from './session.ts';
import { checkKeys, checkVersion, type ConnectorPatchDict, connectorPatch } from './spec.ts';

/** How often a change is made again that does not say what it is made from, when others change the same connector. */
const ATTEMPTS = 10;

export type ChangeOptions = {
  readonly admin: boolean;
  /** The connector as this process has it. */
  readonly find: () => Promise<BaseConnector>;
  /** Takes up what other processes made of it. */
  readonly refresh: () => Promise<void>;
};

/** A change that is checked. */
type Change = {
  readonly connector: BaseConnector;
  /** What the connector becomes. */
  readonly record: ConnectorRecord;
  /** Its configuration, where that is changed. */
  readonly prepared: Awaited<ReturnType<typeof prepareConfig>> | undefined;
  /** What the status is to be after that. */
  readonly status: ConnectorPatchDict['status'];
};

/**
 * Stores a change of a connector in wire names, and takes it up.
 *
 * @throws ConnectorError `invalid_argument`, `not_found`; `conflict` where it says which version it is made from and that
 *   is not the one that is stored, `invalid_state` for a status that cannot follow on the one that it has.
 */
export async function changeConnector(dict: unknown, options: ChangeOptions, parts: Parts): Promise<Change> {
  checkKeys(dict);
  const patch = parseWith(connectorPatch, dict);
  for (let attempt = 1; ; attempt++) {
    const connector = await options.find();
    const { record, status } = connector;
    let change: Change | undefined;
    try {
      change = await prepareChange(patch, connector, options, parts);
      await storeChange(change, parts);
      return change;
    } catch (error) {
      const isConflict = isConnectorError(error) && error.code === 'conflict';
      // Any other error of the store says nothing of whether it is stored.
      if (!parts.store.peers || attempt === ATTEMPTS || (change && !isConflict)) throw error;
      // Whatever is wrong may be so because it was made from what others have changed meanwhile, or removed.
      await options.refresh();
      const now = await options.find();
      if (!isConflict && now.record === record && now.status === status) throw error;
      // An object that stays behind what the caller has seen is of one that was removed just now: the next look says so.
      if (isConflict && patch.version !== undefined && (now.version > patch.version || attempt > 1))
        checkVersion(patch, now.version);
    }
  }
}

async function prepareChange(
  patch: ConnectorPatchDict,
  connector: BaseConnector,
  { admin }: ChangeOptions,
  parts: Parts,
): Promise<Change> {
  const before = connector.record;
  checkVersion(patch, before.version);
  const changed = patch.config && ConnectorConfig.fromDict({ ...before.config.toDict(), ...patch.config });
  if (changed) parts.resultsGuard.checkChange(before, changed);
  const prepared = changed && (await prepareConfig(before, changed, { admin }, parts));
  if (patch.status) checkStatusMove(statusOf(connector, prepared), patch.status);
  const record = {
    ...before,
    name: patch.name ?? before.name,
    config: prepared?.config ?? before.config,
    metadata: patch.metadata ?? before.metadata,
    trusted: prepared?.trusted ?? before.trusted,
    version: before.version + 1,
    updatedAt: new Date(parts.clock.now()),
  };
  return { connector, record, prepared, status: patch.status };
}

async function storeChange({ connector, record, prepared }: Change, { store }: Parts): Promise<void> {
  if (!(await store.updateConnector(record, prepared?.secrets))) throw notFound(connector.connectorId);
  // Others may have changed it again before this process had its answer.
  if (record.version > connector.version) connector.replace(record);
}

/** What the status is when the change is in force, before another one is asked for. */
function statusOf(
  { status }: BaseConnector,
  prepared: { readonly ready: boolean } | undefined,
): ConnectorStatus {
  if (!prepared || status === 'deprecated') return status;
  return prepared.ready ? 'ready' : 'registered';
}
