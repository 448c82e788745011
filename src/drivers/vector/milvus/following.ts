import { isConnectorError } from '../../../driver.ts';
import type { Connection } from './connection.ts';

type Used = { readonly connection: Connection; readonly addresses: readonly string[]; calls: number };

/**
 * A connection that follows its host. gRPC is given addresses and asks nobody for others, so where a call found nobody
 * the name is looked up again, and later calls go to where it points by then.
 */
export function following(
  make: (addresses: readonly string[]) => Connection,
  resolve: () => Promise<readonly string[]>,
  addresses: readonly string[],
): Connection {
  let used: Used = { connection: make(addresses), addresses, calls: 0 };
  let looking = false;
  let isClosed = false;
  const open = new Set([used]);

  /** Closes what was left and serves no call any more. */
  const closeLeft = async (): Promise<void> => {
    for (const one of open) {
      if (one.calls > 0 || one === used) continue;
      open.delete(one);
      await one.connection.close();
    }
  };

  const look = async (): Promise<void> => {
    if (looking || isClosed) return;
    looking = true;
    try {
      const now = await resolve();
      // While one of the old addresses stands, gRPC finds it by itself.
      if (isClosed || now.some((address) => used.addresses.includes(address))) return;
      used = { connection: make(now), addresses: now, calls: 0 };
      open.add(used);
      await closeLeft();
    } catch {
      // The name is not known, or points to where nobody may go: calls go on failing until it does not.
    } finally {
      looking = false;
    }
  };

  return {
    async during(signal, task) {
      const mine = used;
      mine.calls += 1;
      try {
        return await mine.connection.during(signal, task);
      } catch (error) {
        if (mine === used && isConnectorError(error) && LOST.has(error.code)) void look();
        throw error;
      } finally {
        mine.calls -= 1;
        if (mine !== used) await closeLeft();
      }
    },
    async close() {
      isClosed = true;
      for (const { connection } of open) await connection.close();
      open.clear();
    },
  };
}

/** Failures after which the host may be elsewhere: it refused, or did not answer. */
const LOST: ReadonlySet<string> = new Set(['unavailable', 'timeout']);
