import type { BaseConnector } from '../connectors/base.ts';
import { ConnectorConfig } from '../connectors/config.ts';
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

/**
 * Stores a change of a connector in wire names, and takes it up.
 *
 * @throws ConnectorError `invalid_argument`, `not_found`; `conflict` where it says which version it is made from and that
 *   is not the one that is stored.
 */
export async function changeConnector(dict: unknown, options: ChangeOptions, parts: Parts) {
  checkKeys(dict);
  const patch = parseWith(connectorPatch, dict);
  for (let attempt = 1; ; attempt++) {
    try {
      return await change(patch, options, parts);
    } catch (error) {
      const isLate = isConnectorError(error) && error.code === 'conflict' && parts.store.peers !== undefined;
      if (!isLate || attempt === ATTEMPTS) throw error;
      await options.refresh();
      if (patch.version === undefined) continue;
      const { version } = await options.find();
      // An object that stays behind what the caller has seen is of one that was removed just now: the next look says so.
      if (version > patch.version || attempt > 1) checkVersion(patch, version);
    }
  }
}

async function change(patch: ConnectorPatchDict, { admin, find }: ChangeOptions, parts: Parts) {
  const connector = await find();
  const before = connector.record;
  checkVersion(patch, before.version);
  const changed = patch.config && ConnectorConfig.fromDict({ ...before.config.toDict(), ...patch.config });
  const prepared = changed && (await prepareConfig(before, changed, { admin }, parts));
  const record = {
    ...before,
    name: patch.name ?? before.name,
    config: prepared?.config ?? before.config,
    metadata: patch.metadata ?? before.metadata,
    trusted: prepared?.trusted ?? before.trusted,
    version: before.version + 1,
    updatedAt: new Date(parts.clock.now()),
  };
  if (!(await parts.store.updateConnector(record, prepared?.secrets))) throw notFound(connector.connectorId);
  // Others may have changed it again before this process had its answer.
  if (record.version > connector.version) connector.replace(record);
  return { connector, prepared, status: patch.status };
}
