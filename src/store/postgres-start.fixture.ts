/** A process that does nothing but open the store of the database that it is given. */
import { SqlStore } from './sql-store.ts';

await SqlStore.open({ databaseUrl: process.argv[2] ?? '' });
