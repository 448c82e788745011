import type { BaseConnector } from '../connectors/base.ts';
import { FileConnector } from '../connectors/file/connector.ts';
import { ServerlessConnector } from '../connectors/serverless/connector.ts';
import { ConnectorError } from '../errors/error.ts';
import { isAtHome } from './making.ts';
import type { Parts } from './parts.ts';
import { resultsConnector } from './results-connector.ts';
import { absent } from './session.ts';

/** How often folders are swept. */
const SWEEP_MS = 86_400_000;

export type TakingUp = {
  readonly get: (connectorId: string) => Promise<BaseConnector>;
  /** The id of the file connector for large results. */
  readonly resultsConnector: string | undefined;
  /** Whether what an earlier process accepted is run. */
  readonly resume: boolean;
};

/**
 * Runs what an earlier process accepted and did not finish, and removes what expired or was left over, now and from then on.
 *
 * @returns `stopSweeping`, which resolves when nothing is being removed any more.
 * @throws ConnectorError `invalid_argument` where large results cannot be kept where they are to be.
 */
export async function takeUpWork(
  parts: Parts,
  { get, resultsConnector: wanted, resume }: TakingUp,
): Promise<{ readonly stopSweeping: () => Promise<void> }> {
  const { clock, log, invocations, prober } = parts;
  if (wanted !== undefined) parts.resultsGuard.guard(await resultsConnector(wanted, get, parts));
  invocations.results.use({
    connectorId: wanted,
    async find(connectorId) {
      const connector = await get(connectorId);
      if (connector instanceof FileConnector) return connector;
      throw new ConnectorError('not_found', `connector ${connectorId} keeps no files`);
    },
  });
  const ended = (work: Promise<void>) =>
    work.catch((error: unknown) => log.warn('what was left over was not removed', { error: String(error) }));
  let sweeping = ended(sweepFolders(parts).then(() => invocations.sweep()));
  let cancel = (): void => {};
  const sweepLater = () => {
    cancel = clock.inBackground(SWEEP_MS, () => {
      sweeping = ended(sweepFolders(parts));
      sweepLater();
    });
  };
  sweepLater();
  const find = async (connectorId: string) => {
    const connector = await functionsOf(connectorId, get);
    return connector && (await isAtHome(connector, parts)) ? connector : undefined;
  };
  await invocations.start(resume ? find : undefined);
  prober.start(parts, get);
  return {
    async stopSweeping() {
      cancel();
      await sweeping;
    },
  };
}

async function sweepFolders({ folders, store, clock, log }: Parts): Promise<void> {
  const exists = async (id: string) => (await store.getConnector(null, id)) !== undefined;
  const kept = await folders.sweep(exists, new Date(clock.now()));
  if (kept > 0)
    log.warn('embedded engines stored things for connectors that are not there; they are kept for a week', {
      connectors: kept,
    });
}

/** The functions of an id; undefined where there are none, or no longer. */
export async function functionsOf(
  connectorId: string,
  get: TakingUp['get'],
): Promise<ServerlessConnector | undefined> {
  const connector = await get(connectorId).catch(absent);
  return connector instanceof ServerlessConnector ? connector : undefined;
}
