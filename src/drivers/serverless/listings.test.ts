import { describe, expect, it } from 'vitest';
import type { Fetcher } from '../../driver.ts';
import { testClock } from '../../testing/clock.ts';
import { NO_TOKENS } from '../../clouds/gcp/tokens.ts';
import { cloudflareApi } from './cloudflare_workers/api.ts';
import { cloudflareWorkersOptions } from './cloudflare_workers/options.ts';
import { gcpFunctionsOptions } from './gcp_functions/options.ts';
import { runApi } from './gcp_functions/run-api.ts';
import { httpOptions } from './http/options.ts';

const clock = testClock();
const signal = new AbortController().signal;

/** Whoever answers each page with as many new entries, and counts the pages. */
function endless(page: (number: number) => unknown) {
  const asked = { pages: 0 };
  const fetcher: Fetcher = {
    fetch: async () => Response.json(page(asked.pages++)),
    during: (_signal, task) => task(),
    close: async () => {},
  };
  return { asked, fetcher };
}
const names = (page: number) => Array.from({ length: 4_000 }, (_, i) => `f-${page}-${i}`);

describe('a listing without end', () => {
  it('is given up at Google once it has more than any project', async () => {
    const services = (page: number) =>
      names(page).map((name) => ({ name: `projects/acme-1/locations/europe-west1/services/${name}` }));
    const { asked, fetcher } = endless((page) => ({ services: services(page), nextPageToken: `p${page}` }));
    const options = gcpFunctionsOptions.parse({ project_id: 'acme-1', region: 'europe-west1' });
    const api = await runApi(options, { fetcher, tokens: NO_TOKENS, clock });
    await expect(api.list(signal)).rejects.toMatchObject({ code: 'backend_error' });
    expect(asked.pages).toBe(3);
    await api.close();
  });

  it('is given up at Cloudflare once it has more than any account', async () => {
    const { asked, fetcher } = endless((page) => ({
      ...{ success: true, errors: [], messages: [] },
      result: names(page).map((name) => ({ name })),
      result_info: { page, per_page: 100, total_pages: 1_000, total_count: 1e9 },
    }));
    const options = cloudflareWorkersOptions.parse({ account_id: 'a'.repeat(32), api_token: 'worthless' });
    const api = await cloudflareApi(options, fetcher, clock);
    await expect(api?.listWorkflows(signal)).rejects.toMatchObject({ code: 'backend_error' });
    expect(asked.pages).toBe(3);
  });
});

it('takes no health path that leads to another host, where the credentials would go', () => {
  const issues = (health_path: string) =>
    httpOptions
      .safeParse({ endpoint: 'https://example.com', health_path })
      .error?.issues.map(({ path }) => path.join('.'));
  expect(issues('/health')).toBeUndefined();
  for (const path of ['//evil.example', '/\\evil.example']) expect(issues(path)).toEqual(['health_path']);
});
