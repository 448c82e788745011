import type * as Lambda from '@aws-sdk/client-lambda';
import { amazonEndpoint, baseConfig, collected, CREDENTIALS_PEER } from '../../../clouds/aws/sdk.ts';
import { ConnectorError, loadPeer, type Agents } from '../../../driver.ts';
import type { LambdaOptions } from './options.ts';

export const LAMBDA_PEERS = {
  '@aws-sdk/client-lambda': '^3.1100.0',
  ...CREDENTIALS_PEER,
} as const;

/** The module of the client. */
export type Sdk = typeof Lambda;
/** What a client is made with. */
export type ClientConfig = NonNullable<ConstructorParameters<Sdk['LambdaClient']>[0]>;

// 6 MB each: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html. To the byte that is what Lambda's
// own refusals say, "must be smaller than 6291456 bytes" and "exceeded maximum allowed payload size (6291556 bytes)", as in
// https://zaccharles.medium.com/deep-dive-lambdas-request-payload-size-limit-2-2-6350c1ae5577 (both read 2026-11-28).
export const PAYLOAD_BYTES = 6 * 2 ** 20 - 1;
export const RESULT_BYTES = 6 * 2 ** 20 + 100;
/** Of an event: 1 MB, says the reference of `InvokeCommand` in @aws-sdk/client-lambda 3.1164 (read 2026-11-28). */
export const EVENT_BYTES = 2 ** 20;

/** Longer than any function may run (15 minutes), during which its socket is silent. */
const SILENCE_MS = 960_000;

export function loadSdk(): Promise<Sdk> {
  return loadPeer(
    '@aws-sdk/client-lambda',
    LAMBDA_PEERS['@aws-sdk/client-lambda'],
    () => import('@aws-sdk/client-lambda'),
  );
}

/** What a client of Lambda is made with, but for its credentials. */
export function lambdaConfig(options: LambdaOptions, agents: Agents) {
  return {
    ...baseConfig(options, agents, SILENCE_MS),
    authSchemePreference: [],
    // Always said: without one, the SDK looks for another endpoint in the environment.
    endpoint: endpointOf(options),
  } satisfies ClientConfig;
}

/** The base address that all requests go to. */
export function endpointOf(options: LambdaOptions): string {
  return options.endpoint ?? amazonEndpoint('lambda', options);
}

/** A result, of which no more is read than Lambda lets a function answer. */
export function resultOf(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return collected(body, RESULT_BYTES, resultTooLarge);
}

export function resultTooLarge(): ConnectorError {
  return new ConnectorError('payload_too_large', `the result is at most ${RESULT_BYTES} bytes of JSON`, {
    details: { limitBytes: RESULT_BYTES },
  });
}
