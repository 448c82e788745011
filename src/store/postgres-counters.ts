import { createHash } from 'node:crypto';
import type { RateLimitCounters } from '../contract/counters.ts';

type Query = (
  text: string,
  values: readonly unknown[],
) => Promise<{ rows: unknown[]; rowCount: number | null }>;

/** Counts that all processes on one database share. */
export function postgresCounters(query: Query): RateLimitCounters {
  return {
    async count(key, windowMs) {
      const { rows } = await query(COUNT, [createHash('sha256').update(key).digest('hex'), windowMs]);
      // The statement says what a row is.
      const [row] = rows as readonly { readonly points: number; readonly left_ms: number }[];
      return { attempts: row?.points ?? 1, leftMs: row?.left_ms ?? windowMs };
    },
  };
}

const NOW = '(extract(epoch from clock_timestamp()) * 1000)::bigint';
const COUNT = `insert into rate_limits as r (key, points, expire) values ($1, 1, ${NOW} + $2::bigint)
  on conflict (key) do update set
    points = case when r.expire <= ${NOW} then 1 else r.points + 1 end,
    expire = case when r.expire <= ${NOW} then ${NOW} + $2::bigint else r.expire end
  returning points, (expire - ${NOW})::int as left_ms`;
