import type { ConnectorActivity } from '../connectors/base.ts';
import type { ActivityChange } from './store.ts';

/** So many health checks that failed in a row, in whichever processes, make `error`. */
export const CHECKS_UNTIL_ERROR = 3;

/**
 * What happened to a connector in all processes.
 *
 * @param before what is known of all of them.
 * @param change what one of them has to add.
 */
export function together(
  before: ConnectorActivity,
  { activity: here, since }: ActivityChange,
  isConnectedElsewhere = false,
): ConnectorActivity {
  const { connections, errors, isMoved, from } = since;
  return {
    status: isMoved ? statusOf(before, here, { from, isConnectedElsewhere }) : before.status,
    lastConnected: later(before.lastConnected, here.lastConnected),
    lastError: (before.lastError?.at ?? 0) > (here.lastError?.at ?? 0) ? before.lastError : here.lastError,
    connectionCount: before.connectionCount + connections,
    errorCount: before.errorCount + errors,
  };
}

function statusOf(
  { status: before }: ConnectorActivity,
  { status: here }: ConnectorActivity,
  {
    from,
    isConnectedElsewhere,
  }: { readonly from: ConnectorActivity['status']; readonly isConnectedElsewhere: boolean },
): ConnectorActivity['status'] {
  // Whoever used it here may not have heard of it yet, and ends it only who has.
  const isUsed = here === 'connected' || here === 'error';
  if (before === 'deprecated' && (isUsed || from !== 'deprecated')) return before;
  if (isConnectedElsewhere && (here === 'disconnected' || here === 'error')) return 'connected';
  return here;
}

function later(a: Date | null, b: Date | null): Date | null {
  return a !== null && b !== null && a > b ? a : (b ?? a);
}
