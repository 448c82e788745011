import { expect, it } from 'vitest';
import { NEVER } from '../../../policies/pipeline.ts';
import { openContext } from '../../../testing/open-context.ts';
import { blobList } from './blob-list.fixture.ts';
import driver from './index.ts';

const COUNT = 20_000;

it('walks 20,000 files in constant memory, with little more than one request for each page', async () => {
  const double = await blobList(COUNT);
  const options = { account: 'acme', container: 'files', endpoint: double.url, account_key: 'd29ydGhsZXNz' };
  const client = await driver.open(driver.options.parse(options), openContext({ folder: '/nowhere' }));
  try {
    let seen = 0;
    let peak = 0;
    let before = 0;
    const asked = double.requests();
    for (let cursor: string | undefined, isFirst = true; isFirst || cursor !== undefined; isFirst = false) {
      const page = await client.list('all', { recursive: true, limit: 1000, cursor }, NEVER);
      for (const { path } of page.files)
        if (path !== `all/f${String(seen++).padStart(6, '0')}`) expect(path).toBe(`the one at ${seen - 1}`);
      cursor = page.nextCursor;
      peak = Math.max(peak, process.memoryUsage.rss());
      // By then the heap has grown to what one page of XML takes in two parsers, that of the double included.
      if (seen === 8000) before = peak;
    }
    expect(seen).toBe(COUNT);
    expect(double.requests() - asked).toBe(COUNT / 1000);
    expect(peak - before).toBeLessThan(100 * 2 ** 20);
  } finally {
    await client.close();
    await double.close();
  }
});
