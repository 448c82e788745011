import { createHash } from 'node:crypto';
import type { RateLimitCounters } from '../contract/counters.ts';
import { postgresError } from './postgres-error.ts';

type Query = (
  text: string,
  values: readonly unknown[],
) => Promise<{ rows: unknown[]; rowCount: number | null }>;

/** Between two times that a process removes what expired. */
const CLEAR_MS = 300_000;

/**
 * Counts that all processes on one database share.
 *
 * A window begins and ends by the database's clock. Each process's own would do for one that is right: with windows of a
 * second, one that is a second ahead would end every window of the others at once.
 *
 * @throws ConnectorError from a count `unavailable`, when the database cannot be asked.
 */
export function postgresCounters(query: Query): RateLimitCounters {
  let clearedMs = performance.now();
  return {
    async count(key, windowMs, more = 1) {
      const values = [hash(key), Math.max(1, Math.round(windowMs)), more];
      const { rows } = await query(COUNT, values).catch((error: unknown) => {
        throw postgresError(error);
      });
      if (performance.now() - clearedMs > CLEAR_MS) {
        clearedMs = performance.now();
        // Nobody waits for it, and where it fails it is tried again the next time.
        void query(CLEAR_EXPIRED, []).catch(() => {});
      }
      // The statement says what its one row is; a pool may read a `bigint` as text.
      const [row] = rows as readonly { readonly points: unknown; readonly left_ms: unknown }[];
      return { attempts: Number(row?.points), leftMs: Number(row?.left_ms) };
    },
  };
}

/** No name of a tenant stands in the table, which has no row security: all tenants' counts are the servers' own. */
function hash(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}

// The same throughout a statement. One that waited for the row counts where it was when it came.
const NOW = '(extract(epoch from statement_timestamp()) * 1000)::bigint';

const COUNT = `insert into rate_limits as r (key, points, expire) values ($1, $3::bigint, ${NOW} + $2::bigint)
  on conflict (key) do update set
    points = case when r.expire <= ${NOW} then $3::bigint else r.points + $3::bigint end,
    expire = case when r.expire <= ${NOW} then ${NOW} + $2::bigint else r.expire end
  returning points, greatest(expire - ${NOW}, 0) as left_ms`;

/** So many at a time, past those that are being counted: nobody waits for it. */
export const CLEAR_EXPIRED = `delete from rate_limits where key in (
  select key from rate_limits where expire <= ${NOW} limit 10000 for update skip locked)`;
