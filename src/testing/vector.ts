import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe } from 'vitest';
import type { z } from 'zod';
import type { VectorClient, VectorDriver, VectorOpenContext } from '../connectors/vector/driver.ts';
import type { SuiteEngine } from './seen.ts';
import { testCollections } from './vector-collections.ts';
import { testFilters } from './vector-filters.ts';
import { testListing } from './vector-listing.ts';
import { testRecords } from './vector-records.ts';
import { testRefusals } from './vector-refusals.ts';
import { testScores } from './vector-scores.ts';
import { vectorConnector, vectorContext, type VectorProof } from './vector-suite.ts';

/** The driver to prove, and how to open it. */
export type VectorSuite<Options extends z.ZodObject> = {
  readonly driver: VectorDriver<Options>;
  /** Opens the collection that the context names by its `connectorId` and `folder`; it is empty at first. */
  readonly open: (context: VectorOpenContext) => Promise<VectorClient>;
  /** Removes an open collection from the backend, past the driver; absent where nobody else can. */
  readonly removeBeneath?: (context: VectorOpenContext) => Promise<void>;
  /**
   * What answers. Given, what was seen of each operator is compared with the file `seen.json` beside the test, which
   * `vitest -u` writes; absent, it is not written down.
   */
  readonly engine?: SuiteEngine;
};

/**
 * Registers the tests that every vector driver passes: what it declares is proven, what it does not is refused before
 * any I/O.
 */
export function testVectorDriver<Options extends z.ZodObject>({
  driver,
  open,
  removeBeneath,
  engine,
}: VectorSuite<Options>): void {
  const { capabilities } = driver;
  const [first = 'cosine'] = capabilities.metrics;
  describe(`vector driver ${driver.id}`, () => {
    const scratch = mkdtempSync(path.join(tmpdir(), 'vectors-'));
    const opened: VectorClient[] = [];
    const proof: VectorProof = {
      capabilities,
      metric: first,
      context: (dimension = 3, metric = first) => vectorContext(scratch, dimension, metric),
      async start(context) {
        const client = await open(context);
        opened.push(client);
        return client;
      },
      async collection(dimension, metric) {
        const context = proof.context(dimension, metric);
        return vectorConnector(await proof.start(context), context, capabilities);
      },
    };
    afterAll(async () => {
      for (const client of opened) await client.close();
      rmSync(scratch, { recursive: true, force: true });
    });

    testFilters(proof, engine);
    testScores(proof);
    testRecords(proof);
    testListing(proof);
    testRefusals(proof);
    testCollections(proof, removeBeneath);
  });
}
