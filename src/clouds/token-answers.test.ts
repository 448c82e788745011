import { describe, expect, it } from 'vitest';
import type { Fetcher, OpenContext } from '../driver.ts';
import { testClock } from '../testing/clock.ts';
import { principalTokens } from './azure/tokens.ts';
import { tokenFetch } from './gcp/token-endpoint.ts';

const MiB = 2 ** 20;

/** An answer without an end, which counts what is read of it. */
function endless(status = 200) {
  const read = { bytes: 0 };
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      read.bytes += 65_536;
      // Whoever reads on is stopped by this, long before memory is short.
      if (read.bytes > 8 * MiB) controller.error(new Error('read without end'));
      else controller.enqueue(new Uint8Array(65_536).fill(32));
    },
  });
  const fetcher: Fetcher = {
    fetch: async () => new Response(body, { status }),
    during: (_signal, task) => task(),
    close: async () => {},
  };
  return { read, fetcher };
}

describe('a token endpoint that answers without end', () => {
  it.each([200, 400])('is not read beyond what a token has, at Google, with %i', async (status) => {
    const { read, fetcher } = endless(status);
    const fetch = tokenFetch(fetcher, testClock());
    await expect(fetch('https://sts.example.com/token')).rejects.toMatchObject({ code: 'backend_error' });
    expect(read.bytes).toBeLessThan(MiB);
  });

  it.each([200, 400])('is not read beyond what a token has, at Azure, with %i', async (status) => {
    const { read, fetcher } = endless(status);
    const identity = {
      ...{ tenant_id: 'contoso.example', client_id: 'app', client_secret: 'worthless' },
      authority_host: 'https://login.example.com',
    };
    // Nothing else of it is used for a principal.
    const context = { clock: testClock(), network: { fetcher: () => fetcher } } as unknown as OpenContext;
    const tokens = principalTokens({ identity, scope: 'https://example.com/.default' }, context);
    await expect(tokens.get(AbortSignal.timeout(10_000))).rejects.toMatchObject({ code: 'backend_error' });
    expect(read.bytes).toBeLessThan(MiB);
    await tokens.close();
  });
});
