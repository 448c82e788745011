import { afterEach } from 'vitest';
import type { RegistryOptions } from '../../registry/opening.ts';
import type { ServerlessConnectorSpec } from '../../registry/spec.ts';
import { serverlessConnector } from '../../testing/serverless-suite.ts';
import type {
  ClientInvocation,
  InvocationOutcome,
  JsonValue,
  ServerlessCapabilities,
  ServerlessClient,
  ServerlessDriver,
} from './driver.ts';

/** What a function does in a test. */
export type Body = (
  payload: JsonValue,
  invocation: ClientInvocation,
  signal: AbortSignal,
) => Promise<InvocationOutcome>;

export const echo: Body = async (payload) => ({ status: 'completed', result: payload });

type Setting = RegistryOptions & {
  readonly spec?: Partial<ServerlessConnectorSpec>;
  readonly capabilities?: Partial<ServerlessCapabilities>;
  readonly client?: Partial<ServerlessClient>;
  readonly outcomeOf?: ServerlessDriver['outcomeOf'];
};

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()));
});

/** A connector of a registry of its own whose functions all do what `body` says; closed after the test. */
export async function functionsOf(body: Body, { capabilities, client, ...options }: Setting = {}) {
  const calls: string[] = [];
  const scripted: ServerlessClient = {
    invoke(_name, payload, invocation, signal) {
      calls.push(invocation.requestId);
      return body(payload, invocation, signal);
    },
    listFunctions: async () => [{ name: 'b' }, { name: 'a' }],
    check: async () => [],
    close: async () => {},
    ...client,
  };
  const limits = { payloadBytes: 1_000, resultBytes: 1_000_000, timeoutSeconds: 900 };
  const able = { deploy: false, logs: false, native: false, limits, ...capabilities } as const;
  const { functions, registry } = await serverlessConnector(scripted, able, options);
  closing.push(() => registry.close());
  return { functions, registry, calls };
}

/** A body that waits until it is let go. */
export function gate() {
  const waiting: (() => void)[] = [];
  let isOpen = false;
  const body: Body = async (payload, _invocation, signal) => {
    if (!isOpen)
      await new Promise<void>((resolve, reject) => {
        waiting.push(resolve);
        signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
      });
    return { status: 'completed', result: payload };
  };
  const open = () => {
    isOpen = true;
    for (const resolve of waiting.splice(0)) resolve();
  };
  return { body, open };
}
