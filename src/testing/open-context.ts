import type { OpenContext } from '../contract/driver.ts';
import { systemClock } from '../contract/clock.ts';
import { egressPolicy } from '../egress/addresses.ts';
import { network } from '../egress/network.ts';
import { NEVER } from '../policies/pipeline.ts';

const silent = (): void => {};

/**
 * What a host gives to a driver's `open()`, for a test: the real clock, a log that nobody reads, no deadline, and a
 * network that reaches private addresses, too.
 */
export function openContext({
  folder,
  ...own
}: Partial<OpenContext> & Pick<OpenContext, 'folder'>): OpenContext {
  return {
    tenantId: 'acme',
    connectorId: 'connector-1',
    trusted: true,
    folder,
    tenantFolder: folder,
    clock: systemClock,
    log: { debug: silent, info: silent, warn: silent, error: silent },
    signal: NEVER,
    progress: silent,
    network: network(egressPolicy({ allowPrivate: true })),
    stage: (_name, step) => step(),
    ...own,
  };
}
