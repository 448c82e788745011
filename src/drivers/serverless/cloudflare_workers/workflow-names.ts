import { isConnectorError, type OpenContext } from '../../../driver.ts';
import type { CloudflareApi } from './api.ts';

/** How long what the account said is good for. */
const FRESH_MS = 5 * 60_000;

/** Which names are Workflows. */
export type WorkflowNames = {
  /** Asks the account. @throws ConnectorError `auth_failed` where the token may not. */
  load(signal: AbortSignal): Promise<void>;
  /**
   * As it was when the account was asked last. What is older than five minutes is asked anew, for the calls after this
   * one: no function waits for the account, nor fails because of it.
   */
  has(name: string): boolean;
  all(): readonly string[];
  close(): Promise<void>;
};

export function workflowNames({
  api,
  fixed,
  context: { clock, log },
}: {
  readonly api: CloudflareApi | undefined;
  /** The names that were told, which are not asked about. */
  readonly fixed: readonly string[] | undefined;
  readonly context: Pick<OpenContext, 'clock' | 'log'>;
}): WorkflowNames {
  const closed = new AbortController();
  let known: ReadonlySet<string> = new Set(fixed);
  let askedMs = Number.NEGATIVE_INFINITY;
  let asking: Promise<void> | undefined;

  const load = async (signal: AbortSignal): Promise<void> => {
    if (api === undefined) return;
    askedMs = clock.monotonicMs();
    known = new Set(await api.listWorkflows(signal));
  };
  const refresh = (): void => {
    if (fixed !== undefined || asking !== undefined || clock.monotonicMs() - askedMs < FRESH_MS) return;
    asking = load(closed.signal)
      .catch((error: unknown) => {
        const code = isConnectorError(error) ? error.code : 'internal';
        if (!closed.signal.aborted) log.warn('the Workflows of the account could not be listed', { code });
      })
      .finally(() => (asking = undefined));
  };
  return {
    load,
    has(name) {
      if (api !== undefined) refresh();
      return known.has(name);
    },
    all: () => [...known],
    async close() {
      closed.abort();
      await asking;
    },
  };
}
