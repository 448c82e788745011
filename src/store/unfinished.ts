import { ConnectorError } from '../errors/error.ts';
import { checkValue } from './check-value.ts';
import type { Database } from './schema.ts';

/** A fact of a store that is not whole yet: what it is filled from. */
export const UNFINISHED = 'unfinished_transfer';

/** What the store is being filled from; undefined where it is whole. */
export async function unfinishedFrom(db: Database): Promise<string | undefined> {
  const fact = await db.selectFrom('facts').select('value').where('name', '=', UNFINISHED).executeTakeFirst();
  return fact?.value;
}

export async function markUnfinished(db: Database, from: string): Promise<void> {
  await db
    .insertInto('facts')
    .values({ name: UNFINISHED, value: from, fact_check: checkValue(UNFINISHED, from) })
    .execute();
}

/** @throws ConnectorError `invalid_state` where only part of a registry was moved here. */
export async function refuseUnfinished(db: Database): Promise<void> {
  const from = await unfinishedFrom(db);
  if (from === undefined) return;
  throw new ConnectorError(
    'invalid_state',
    `only part of a registry has been moved here: run connectors migrate from ${from} again, it goes on where it was`,
  );
}
