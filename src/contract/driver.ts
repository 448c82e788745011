import type { z } from 'zod';
import type { Clock } from './clock.ts';
import type { Network } from './network.ts';

/** Where a driver's messages go; the host adds tenant and connector. Never pass a secret. */
export interface Log {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** Long work as a driver reports it, such as an index that is rebuilt. */
export type Progress = { readonly task: string; readonly done: number; readonly total: number };

/** What the host gives to `open()`: who it is for, and the only things that a driver may touch besides its backend. */
export interface OpenContext {
  readonly tenantId: string;
  readonly connectorId: string;
  /** How the connector says that the backend knows us; absent where it does not say. */
  readonly authType?: 'none' | 'api_key' | 'oauth' | 'iam' | undefined;
  /** Whether an administrator made the connector: only such a one may use the host's own identity. */
  readonly trusted: boolean;
  /** The folder that this connector alone owns. It may not exist yet; it is removed with the connector. */
  readonly folder: string;
  /** A folder that all connectors of this kind and tenant share, for caches. It may not exist yet. */
  readonly tenantFolder: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the attempt to open; not the life of the client. */
  readonly signal: AbortSignal;
  progress(progress: Progress): void;
  /** The only way to other machines. */
  readonly network: Network;
  /**
   * Runs one named step of opening, which a person then sees in the report of `test`. Drivers of remote backends have
   * `address`, `connect`, `credentials` and `collection` (or `bucket`, `function`), in this order.
   */
  stage<T>(name: string, step: () => Promise<T>): Promise<T>;
}

/** One line of what a driver found out about itself, shown by `test`: for example that an optional engine is missing. */
export type Note = { readonly level: 'info' | 'warn'; readonly message: string };

/** What every client has, whatever its kind. */
export interface Client {
  /** Proves that the backend answers, cheaply. Notes say what a person should know. */
  check(signal: AbortSignal): Promise<readonly Note[]>;
  /** Ends the connection; calls in flight have ended before. */
  close(): Promise<void>;
}

/** What every driver declares, whatever its kind. */
export interface Driver<
  Kind extends string,
  Capabilities,
  Options extends z.ZodObject,
  C extends Client,
  Context,
> {
  readonly kind: Kind;
  /** Stored with every connector; never changes. The driver's folder bears it. */
  readonly id: string;
  /** Shown to people; may change. */
  readonly title: string;
  /** The only statement of the options; secrets are marked with `secret()`. */
  readonly options: Options;
  readonly capabilities: Capabilities;
  /** Optional peer dependencies: package name → version range, named in the error when one is missing. */
  readonly peers?: Readonly<Record<string, string>>;
  /** Set when the backend is reached over the network: `test` then opens a client of its own, stage by stage. */
  readonly remote?: true;
  open(options: z.output<Options>, context: Context): Promise<C>;
}
