import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/**
 * Everything by which the SDK can be told of somebody else's keys, endpoints and habits, as variables of the
 * environment. `url` is a server that nobody may ask, `folder` an empty one.
 */
export function canaryEnvironment(url: string, folder: string): Readonly<Record<string, string>> {
  // Whoever opens a pipe that nobody writes to waits for ever.
  const config = join(folder, 'config');
  spawnSync('mkfifo', [config]);
  return {
    ...{ AWS_ACCESS_KEY_ID: 'CANARYKEY', AWS_SECRET_ACCESS_KEY: 'canary', AWS_SESSION_TOKEN: 'canary' },
    ...{ AWS_CONFIG_FILE: config, AWS_SHARED_CREDENTIALS_FILE: config, HOME: folder },
    ...{ AWS_REGION: 'canary-1', AWS_DEFAULT_REGION: 'canary-1', AWS_MAX_ATTEMPTS: '9' },
    ...{ AWS_ENDPOINT_URL: url, AWS_ENDPOINT_URL_S3: url, AWS_ENDPOINT_URL_STS: url },
    ...{ AWS_ENDPOINT_URL_LAMBDA: url, AWS_EC2_METADATA_SERVICE_ENDPOINT: url },
    ...{ AWS_CONTAINER_CREDENTIALS_FULL_URI: url, AWS_CONTAINER_AUTHORIZATION_TOKEN: 'canary' },
    ...{ AWS_WEB_IDENTITY_TOKEN_FILE: config, AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/canary' },
    ...{ AWS_USE_FIPS_ENDPOINT: 'true', AWS_USE_DUALSTACK_ENDPOINT: 'true', AWS_S3_USE_ARN_REGION: 'true' },
    ...{ AWS_DEFAULTS_MODE: 'auto', AWS_SDK_UA_APP_ID: 'canary', AWS_RETRY_MODE: 'adaptive' },
    ...{ AWS_REQUEST_CHECKSUM_CALCULATION: 'when_supported', AWS_AUTH_SCHEME_PREFERENCE: 'sigv4a' },
    ...{ HTTP_PROXY: url, http_proxy: url, HTTPS_PROXY: url, ALL_PROXY: url },
  };
}
