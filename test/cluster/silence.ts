import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';

const CUT_EVERY_MS = 200;
/** Listening is tried again at the next look, of which there are four a second. */
const SETTLED_MS = 500;

const CUT = `select pg_terminate_backend(pid) from pg_stat_activity
  where datname = current_database() and application_name = 'connector-registry listener'`;

/** Ends the connections that listen, again and again, until what comes back is called. */
export async function cutListeners({ sql }: Cluster): Promise<() => Promise<void>> {
  const over = new AbortController();
  const cutting = (async () => {
    while (!over.signal.aborted) {
      await sql(CUT);
      await wait(CUT_EVERY_MS);
    }
  })();
  // Whoever ends it hears of it.
  cutting.catch(() => {});
  return async () => {
    over.abort();
    await cutting;
  };
}

/** Lets nobody hear a notification, as behind a pooler that hands out connections by transaction, until what comes back is called. */
export async function silenceNotifications({ sql, calls }: Cluster): Promise<() => Promise<void>> {
  const [row] = (await sql('select current_database() as name')) as readonly { readonly name: string }[];
  // Connections of before have the old path, and are ended so that new ones take their place.
  const renew = `select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()`;
  const silenced = calls.outage();
  await sql(
    "create function public.pg_notify(text, text) returns void language plpgsql as 'begin end'",
    `alter database ${row?.name} set search_path = public, pg_catalog`,
    renew,
  );
  await wait(SETTLED_MS);
  silenced();
  return async () => {
    const restored = calls.outage();
    await sql(
      `alter database ${row?.name} reset search_path`,
      'drop function public.pg_notify(text, text)',
      renew,
    );
    await wait(SETTLED_MS);
    restored();
  };
}
