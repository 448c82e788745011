import type { BaseConnector } from '../connectors/base.ts';
import type { ConnectorStatus } from '../connectors/kinds.ts';
import type { Clock } from '../contract/clock.ts';
import type { RateLimitCounters } from '../contract/counters.ts';
import type { Log, Progress } from '../contract/driver.ts';
import type { Network } from '../contract/network.ts';
import type { Cipher } from '../secrets/cipher.ts';
import type { Store } from '../store/store.ts';
import type { ActivityWriter } from './activity.ts';
import type { DriverCatalog } from './catalog.ts';
import type { Folders } from './folders.ts';
import type { Homes } from './homes.ts';
import type { InvocationWork } from './invocation-work.ts';
import type { OpenClients } from './open-clients.ts';
import type { Prober } from './prober.ts';
import type { ResultsGuard } from './results-connector.ts';
import type { SignedAddresses } from './signed-addresses.ts';

/** What happens in a registry, by event name. */
export type RegistryEvents = {
  registered: { readonly tenantId: string; readonly connectorId: string; readonly connector: BaseConnector };
  updated: { readonly tenantId: string; readonly connectorId: string; readonly connector: BaseConnector };
  removed: { readonly tenantId: string; readonly connectorId: string };
  status_changed: {
    readonly tenantId: string;
    readonly connectorId: string;
    readonly from: ConnectorStatus;
    readonly to: ConnectorStatus;
  };
  /** Long work of an engine, such as an index that is rebuilt. */
  progress: { readonly tenantId: string; readonly connectorId: string; readonly progress: Progress };
};

export type Emit = <Name extends keyof RegistryEvents>(name: Name, event: RegistryEvents[Name]) => void;

/** What the pieces of one registry share. */
export type Parts = {
  readonly store: Store;
  readonly cipher: Cipher;
  readonly catalog: DriverCatalog;
  readonly clients: OpenClients;
  readonly activity: ActivityWriter;
  readonly folders: Folders;
  readonly homes: Homes;
  readonly invocations: InvocationWork;
  readonly resultsGuard: ResultsGuard;
  readonly prober: Prober;
  readonly counters: RateLimitCounters;
  readonly addresses: SignedAddresses;
  /** What a connector may reach: private addresses, too, where an administrator made it. */
  readonly network: (trusted: boolean) => Network;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly emit: Emit;
};
