import type { Client } from '../contract/driver.ts';
import type { Call } from '../policies/pipeline.ts';
import {
  BaseConnector,
  type CallOptions,
  type ConnectorActivity,
  type ConnectorRecord,
  type HealthReport,
} from './base.ts';

export type SessionCall = {
  readonly operation: string;
  readonly idempotent: boolean;
  readonly signal?: AbortSignal | undefined;
  /** The caller repeats it himself, if at all. */
  readonly once?: boolean | undefined;
  /** A limit for each attempt that replaces the connector's own, in milliseconds. */
  readonly timeoutMs?: number | undefined;
};

/** A connector's way to its client: opened at first use, shared by all callers, closed when idle. */
export interface ClientSession<C extends Client> {
  /**
   * Runs one operation through the policies on the open client.
   *
   * @throws ConnectorError naming the connector: what `run` threw, or a policy's `timeout`, `rate_limited`,
   *   `circuit_open`, `cancelled`.
   */
  run<T>(call: SessionCall, run: (client: C, call: Call) => Promise<T>): Promise<T>;
  /** Keeps the client open beyond the end of a call, for a body that is still being read; the answer lets go of it. */
  hold(): () => void;
  connect(options: CallOptions): Promise<void>;
  disconnect(): Promise<void>;
  check(options: CallOptions): Promise<HealthReport>;
}

/** A connector whose client a driver opens. */
export abstract class DriverConnector<C extends Client> extends BaseConnector {
  protected readonly session: ClientSession<C>;

  constructor(record: ConnectorRecord, session: ClientSession<C>, activity?: ConnectorActivity) {
    super(record, activity);
    this.session = session;
  }

  override connect(options: CallOptions = {}): Promise<void> {
    return this.session.connect(options);
  }
  override disconnect(): Promise<void> {
    return this.session.disconnect();
  }
  override healthCheck(options: CallOptions = {}): Promise<HealthReport> {
    return this.session.check(options);
  }
}
