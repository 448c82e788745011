import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Clock, systemClock } from '../contract/clock.ts';
import type { Log } from '../contract/driver.ts';
import { ConnectorError } from '../errors/error.ts';
import { ActivityWriter } from './activity.ts';
import { DriverCatalog, type DriverLoaders } from './catalog.ts';
import { Folders } from './folders.ts';
import { ApiKeys } from './keys.ts';
import { silentLog } from './log.ts';
import { OpenClients } from './open-clients.ts';
import type { Emit, Parts } from './parts.ts';

export type RegistryOptions = {
  /** Where everything is kept. Absent: in memory and a temporary folder, gone when the registry is closed. */
  readonly dataDir?: string | undefined;
  /** The drivers to offer; the built-in ones by default. */
  readonly drivers?: DriverLoaders;
  /** The environment that the master key and references are read from; `process.env` by default. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Where messages go; nowhere by default. */
  readonly log?: Log;
  readonly clock?: Clock;
  /** In 0 to 1, for the jitter of delays. */
  readonly random?: () => number;
  /** A client that nobody used for so long is closed; 5 minutes by default. */
  readonly idleCloseMs?: number;
  /** Clients open at once, at most; 1,000 by default. */
  readonly maxOpenClients?: number;
  /** How long closing waits for accepted work; 10 seconds by default. */
  readonly graceMs?: number;
  /** Whether invocations that an earlier process accepted are run now; true by default. */
  readonly resumeInvocations?: boolean;
};
