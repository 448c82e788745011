/** Seals credentials anew, a few at a time, and prints how many, until it is killed. `node key-rotator.ts DATA_DIR|URL LIMIT` */
import { ConnectorRegistry } from '../../src/index.ts';
import type { RotationPosition } from '../../src/index.ts';

const [place = '', limit = ''] = process.argv.slice(2);
const registry = await ConnectorRegistry.open(
  place.startsWith('postgres:') ? { databaseUrl: place } : { dataDir: place },
);
let after: RotationPosition | undefined;
do {
  const done = await registry.keyring.rotate({ limit: Number(limit), after });
  process.stdout.write(`resealed ${done.resealed}\n`);
  after = done.next;
} while (after);
// Whoever kills it does so whether there is something left or not.
setInterval(() => {}, 1_000);
