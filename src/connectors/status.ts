import { ConnectorError } from '../errors/error.ts';
import type { ConnectorStatus } from './kinds.ts';

/** What each status may become. SPEC section 4 is this table. */
export const NEXT_STATUS: Readonly<Record<ConnectorStatus, readonly ConnectorStatus[]>> = {
  registered: ['configuring', 'ready', 'error', 'deprecated'],
  configuring: ['ready', 'error', 'registered', 'deprecated'],
  ready: ['connected', 'configuring', 'error', 'deprecated'],
  connected: ['disconnected', 'configuring', 'error', 'deprecated'],
  disconnected: ['connected', 'configuring', 'error', 'deprecated'],
  error: ['connected', 'disconnected', 'configuring', 'ready', 'deprecated'],
  deprecated: ['disconnected'],
};

/**
 * Checks one move between two statuses. Staying where one is is always legal.
 *
 * @throws ConnectorError `invalid_state` that lists the legal moves.
 */
export function checkStatusMove(from: ConnectorStatus, to: ConnectorStatus): void {
  if (from === to || NEXT_STATUS[from].includes(to)) return;
  const legal = NEXT_STATUS[from];
  throw new ConnectorError(
    'invalid_state',
    `${from} cannot become ${to}; it may become ${legal.join(', ')}`,
    {
      details: { from, to, legal },
    },
  );
}
