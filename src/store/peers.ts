import type { ConnectorRecord } from '../connectors/base.ts';
import type { RateLimitCounters } from '../contract/counters.ts';

export type Removed = Pick<ConnectorRecord, 'tenantId' | 'connectorType' | 'connectorId'>;

/** What other processes changed in the store that they share with this one, since they were last asked. */
export type Change = {
  /** Connectors whose record, status or figures changed, or that are gone; `all` where some may have been missed. */
  readonly connectorIds: readonly string[] | 'all';
  /** Those that were removed, as far as this was heard, whatever has their ids by now. */
  readonly removed: readonly Removed[];
  /** Whether an API key was revoked. */
  readonly keys: boolean;
};

/** One of the processes that share a store. */
export type Server = {
  readonly serverId: string;
  /** Ids of the master keys that it has, the current one first. */
  readonly keyIds: readonly string[];
};

/**
 * The processes that share one store, as one of them sees the others.
 *
 * One that was not heard of for 15 seconds is gone, and what it had connected is disconnected by another that was there
 * all the while.
 */
export interface Peers {
  /** This process. */
  readonly serverId: string;
  /** Says that this process serves, and goes on saying so until the store is closed. Call it once. */
  join(self: Pick<Server, 'keyIds'>): Promise<void>;
  /** The processes that serve now, this one included once it has joined. */
  servers(): Promise<readonly Server[]>;
  /** Those that none has found gone yet and that do not say that they serve: after an outage they may be about to. */
  silent(): Promise<readonly Server[]>;
  /** How many of them there were when it was last looked at; at least 1. */
  readonly count: number;
  /**
   * Tells of what others change, in order, until the store is closed. A listener that is busy is waited for. Call it once.
   */
  watch(listener: (change: Change) => Promise<void>): Promise<void>;
  /**
   * Whether everything that others had changed a second ago is known here. False while the store cannot be reached: then
   * nothing that is remembered may be relied on.
   */
  isCurrent(): boolean;
  /** Milliseconds since the epoch by the store's own clock, which all processes go by. */
  now(): number;
  /**
   * Where the data of a connector's embedded engine is: in this process's directory from now on, where it was nowhere.
   *
   * @param home the id of this process's data directory.
   */
  claimHome(tenantId: string, connectorId: string, home: string): Promise<string>;
  /** Counts of attempts that all processes share, in the store itself. */
  readonly counters: RateLimitCounters;
}
