import { join } from 'node:path';
import { type Clock, systemClock } from '../contract/clock.ts';
import type { Log } from '../contract/driver.ts';
import { drivers } from '../drivers.generated.ts';
import { egressPolicy } from '../egress/addresses.ts';
import { network } from '../egress/network.ts';
import { cipher } from '../secrets/cipher.ts';
import { KEY_FILE } from '../secrets/key-file.ts';
import { ActivityWriter } from './activity.ts';
import { refuseLostDatabase, registryIdOf } from './belonging.ts';
import { DriverCatalog, type DriverLoaders } from './catalog.ts';
import { Folders } from './folders.ts';
import { Homes } from './homes.ts';
import { InvocationWork } from './invocation-work.ts';
import { adoptKeyring, Keyring, openKeyring } from './keyring.ts';
import { ApiKeys } from './keys.ts';
import { openLimits } from './limits.ts';
import { silentLog } from './log.ts';
import { OpenClients } from './open-clients.ts';
import type { Emit, Parts } from './parts.ts';
import { Prober } from './prober.ts';
import { ResultsGuard } from './results-connector.ts';
import { SignedAddresses } from './signed-addresses.ts';

/**
 * Which addresses the connectors of tenants may reach. Those that an administrator made reach private networks as well;
 * the metadata services of clouds are reached through `allowCidrs` alone.
 */
export type EgressOptions = {
  /** Private networks, loopback and link-local, for all. */
  readonly allowPrivate?: boolean;
  /** Ranges such as `10.20.0.0/16`, for all. */
  readonly allowCidrs?: readonly string[];
};

/** How a registry is opened; nothing is required. */
export type RegistryOptions = {
  /** Where everything is kept. Absent: in memory and a temporary folder, gone when the registry is closed. */
  readonly dataDir?: string | undefined;
  /** A database of PostgreSQL 14 or newer, `postgres://…`, for what is otherwise kept in the data directory's own; what `CONNECTORS_DATABASE_URL` names unless told. */
  readonly databaseUrl?: string | undefined;
  /** Connections to that database at once, at most, besides one that listens; 10 by default. */
  readonly databasePool?: number | undefined;
  /** A Redis, `redis://…` or `rediss://…`, that servers count rate limits in; what `CONNECTORS_REDIS_URL` names unless told. */
  readonly redisUrl?: string | undefined;
  /** The drivers to offer; the built-in ones by default. */
  readonly drivers?: DriverLoaders;
  /**
   * Whether connectors may be made and used whose driver keeps its data in this process or its data directory; true by
   * default. Servers that come and go lose such data, so they say false.
   */
  readonly embedded?: boolean | undefined;
  /** The environment that the master key and references are read from; `process.env` by default. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where messages go; nowhere by default. */
  readonly log?: Log;
  /** The addresses that connectors of tenants may reach besides public ones; none by default. */
  readonly egress?: EgressOptions;
  /** Where callers reach the server of this registry, for addresses that it signs; where `announce` says unless told. */
  readonly publicUrl?: string | undefined;
  readonly clock?: Clock;
  /** In 0 to 1, for the jitter of delays. */
  readonly random?: () => number;
  /** A client that nobody used for so long is closed; 5 minutes by default. */
  readonly idleCloseMs?: number;
  /** Clients open at once, at most, and half as many of one tenant once there were several; 1,000 by default. */
  readonly maxOpenClients?: number;
  /** How long closing waits for accepted work; 10 seconds by default. */
  readonly graceMs?: number;
  /** Asynchronous invocations that run at once, at most, and half as many of one tenant; 64 by default. */
  readonly maxInvocations?: number;
  /**
   * The id of the file connector that keeps results of over 256 KB, one that all servers reach. Without one they are in the
   * data directory, or in their rows where servers share a database.
   */
  readonly resultsConnector?: string | undefined;
  /**
   * Seconds between two health checks of a connector in the background, of all servers on the same store together, give or
   * take a fifth; 0, the default, checks nothing in the background.
   */
  readonly probeSeconds?: number | undefined;
  /** Whether invocations that an earlier process accepted are run now; true by default. */
  readonly resumeInvocations?: boolean;
};

/** What a registry of this process is like at this moment. */
export type RegistryGauges = {
  /** Whether rate limits are this server's share, because the counts that servers share do not answer. */
  readonly limitsDegraded: boolean;
  /** Servers on the same store, this one included. */
  readonly servers: number;
  readonly openClients: number;
  /** Whether everything that other servers changed a second ago is known here. */
  readonly storeCurrent: boolean;
};

/** One registry's pieces, put together. */
export type Assembly = {
  readonly parts: Parts;
  readonly keys: ApiKeys;
  readonly keyring: Keyring;
  readonly graceMs: number;
  /** Tells other processes, and who signs addresses, where this registry is served. */
  announce(url: string): Promise<void>;
  gauges(): RegistryGauges;
  /** Closes the store, removes what was temporary and lets go of the data directory. */
  close(): Promise<void>;
};

/** @throws ConnectorError as `ConnectorRegistry.open` says. */
export async function assemble(options: RegistryOptions, emit: Emit): Promise<Assembly> {
  const { clock = systemClock, log = silentLog, env = process.env, graceMs = 10_000, egress = {} } = options;
  const { allowPrivate = false, allowCidrs = [] } = egress;
  const guarded = network(egressPolicy({ allowPrivate, allowCidrs }));
  const trusting = network(egressPolicy({ allowPrivate: true, allowCidrs }));
  // Loaded here: the query builder and the engine are most of what importing the package would cost.
  const [{ openDataDir, newDirectoryId }, { SqlStore }] = await Promise.all([
    import('../store/data-dir.ts'),
    import('../store/sql-store.ts'),
  ]);
  const dataDir = options.dataDir === undefined ? undefined : await openDataDir(options.dataDir);
  const folders = new Folders(dataDir?.path);
  try {
    const file = dataDir && join(dataDir.path, 'registry.db');
    const databaseUrl = options.databaseUrl ?? (env['CONNECTORS_DATABASE_URL'] || undefined);
    const belonging = { dataDir, folders, isOwn: databaseUrl === undefined };
    await refuseLostDatabase(belonging);
    const store = await SqlStore.open(
      databaseUrl === undefined
        ? { file: file ?? ':memory:' }
        : { databaseUrl, poolSize: options.databasePool },
    );
    try {
      const registryId = await registryIdOf(store, belonging);
      const ring = await openKeyring(store, { file: dataDir && join(dataDir.path, KEY_FILE), env });
      await store.peers?.join({ keyIds: ring.ids });
      await adoptKeyring(ring, store, clock);
      const resultsGuard = new ResultsGuard();
      const told = unfailing(emit, log);
      const sealing = cipher(ring);
      const addresses = new SignedAddresses({ cipher: sealing, clock, serverUrl: options.publicUrl });
      const redisUrl = options.redisUrl ?? (env['CONNECTORS_REDIS_URL'] || undefined);
      const limits = await openLimits({ redisUrl, peers: store.peers, clock, log });
      const catalog = new DriverCatalog(options.drivers ?? drivers, { embedded: options.embedded ?? true });
      const parts: Parts = {
        store,
        cipher: sealing,
        catalog,
        clients: new OpenClients({
          clock,
          log,
          idleCloseMs: options.idleCloseMs ?? 300_000,
          maxOpen: options.maxOpenClients ?? 1_000,
          graceMs: Math.min(graceMs, 5_000),
        }),
        activity: new ActivityWriter({ store, clock, log, emit: told }),
        folders,
        homes: new Homes({ peers: store.peers, here: dataDir?.id ?? newDirectoryId(), catalog }),
        invocations: new InvocationWork({
          store,
          folders,
          registryId,
          clock,
          log,
          maxConcurrent: options.maxInvocations ?? 64,
        }),
        resultsGuard,
        prober: new Prober((options.probeSeconds ?? 0) * 1_000),
        counters: limits.counters,
        addresses,
        network: (trusted) => (trusted ? trusting : guarded),
        clock,
        random: options.random ?? Math.random,
        log,
        env,
        emit: told,
      };
      return {
        parts,
        keys: new ApiKeys(store, clock, (tenantId) => resultsGuard.checkKey(tenantId)),
        keyring: new Keyring({ store, ring, cipher: sealing, clock, log }),
        graceMs,
        async announce(url) {
          addresses.servedAt(url);
          await dataDir?.announce(url);
        },
        gauges: () => ({
          limitsDegraded: limits.isAlone(),
          servers: store.peers?.count ?? 1,
          openClients: parts.clients.size,
          storeCurrent: store.peers?.isCurrent() ?? true,
        }),
        async close() {
          limits.close();
          await store.close();
          await folders.close();
          await dataDir?.close();
        },
      };
    } catch (error) {
      await store.close();
      throw error;
    }
  } catch (error) {
    await folders.close();
    await dataDir?.close();
    throw error;
  }
}

/** A listener that throws must not fail the call that it listens to. */
function unfailing(emit: Emit, log: Log): Emit {
  return (name, event) => {
    try {
      emit(name, event);
    } catch (error) {
      log.error(`a listener of ${name} threw`, { error: String(error) });
    }
  };
}
