import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { ConnectorConfig } from './config.ts';

const CANARY = 'canary-7f3a';

describe('ConnectorConfig', () => {
  it('fills in the usual values', () => {
    expect(new ConnectorConfig().toDict()).toEqual({
      timeout_seconds: 30,
      max_retries: 3,
      retry_delay_seconds: 1,
      credentials: {},
      rate_limit_enabled: false,
      rate_limit_requests: 100,
      rate_limit_window_seconds: 60,
      options: {},
    });
  });

  it('masks credentials however it is printed', () => {
    const config = new ConnectorConfig({ credentials: { api_key: CANARY, token: { from_env: 'TOKEN' } } });
    const printed = [
      JSON.stringify(config),
      inspect(config, { showHidden: true, depth: 9 }),
      JSON.stringify({ ...config }),
      String(config),
    ];
    expect(printed.join()).not.toContain(CANARY);
    expect(config.toDict().credentials).toEqual({ api_key: '***', token: '***' });
  });

  it('shows credentials to who asks for them', () => {
    const config = new ConnectorConfig({ credentials: { api_key: CANARY } });
    expect(config.toDict({ includeSecrets: true }).credentials).toEqual({ api_key: CANARY });
  });

  it('comes back whole from its dictionary', () => {
    const config = new ConnectorConfig({
      endpoint: 'https://db.example',
      authType: 'api_key',
      rateLimitEnabled: true,
      options: { a: [1] },
    });
    expect(ConnectorConfig.fromDict(config.toDict()).toDict()).toEqual(config.toDict());
  });

  it('replaces what a patch names and keeps the rest', () => {
    const config = new ConnectorConfig({ timeoutSeconds: 5, credentials: { api_key: CANARY } }).with({
      maxRetries: 0,
    });
    expect(config.toDict({ includeSecrets: true })).toMatchObject({
      timeout_seconds: 5,
      max_retries: 0,
      credentials: { api_key: CANARY },
    });
  });

  it.each([
    [{ timeoutSeconds: 0 }, 'config.timeout_seconds'],
    [{ maxRetries: 1.5 }, 'config.max_retries'],
    [{ retryDelaySeconds: Number.NaN }, 'config.retry_delay_seconds'],
    [{ rateLimitRequests: 0 }, 'config.rate_limit_requests'],
    [{ authType: 'magic' }, 'config.auth_type'],
    [{ surprise: 1 }, 'config.surprise'],
    [{ credentials: { api_key: 7 } }, 'config.credentials.api_key'],
  ])('refuses %j and names the field', (input, path) => {
    const make = () => new ConnectorConfig(input as never);
    expect(make).toThrow(
      expect.objectContaining({ code: 'invalid_argument', issues: [expect.objectContaining({ path })] }),
    );
  });
});
