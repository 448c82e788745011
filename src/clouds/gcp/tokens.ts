import {
  cancelled,
  type Clock,
  ConnectorError,
  isConnectorError,
  networkFailure,
  type OpenContext,
} from '../../driver.ts';

/** A token, and how long it is good for from now on. */
export type FetchedToken = { readonly token: string; readonly lifeMs: number };

/** Where the calls of one client get their token. */
export interface Tokens {
  /** A token that is valid; absent where none is sent. */
  current(signal: AbortSignal): Promise<string | undefined>;
  /** Says that the backend refused the token, so that the next call gets another. */
  forget(token: string): void;
  close(): void;
}

/** No token at all: for public buckets and emulators. */
export const NO_TOKENS: Tokens = { current: async () => undefined, forget() {}, close() {} };

const REFRESH_BEFORE_MS = 300_000;
const UNUSABLE_BEFORE_MS = 30_000;
const REFRESH_LIMIT_MS = 60_000;
const RETRY_AFTER_MS = 10_000;

/**
 * One token for all calls. It is fetched anew five minutes before it expires, once however many calls there are; they
 * go on with the old one meanwhile, and only wait for the new where the old one is about to end.
 *
 * A fetch belongs to no caller: whoever gives up leaves it to the others. It ends by itself after a minute.
 */
export function sharedTokens(
  fetchToken: (signal: AbortSignal) => Promise<FetchedToken>,
  clock: Clock,
  log: OpenContext['log'],
): Tokens {
  let held: { readonly token: string; readonly lifeMs: number; readonly expiresAtMs: number } | undefined;
  let refreshing: Promise<string> | undefined;
  let notBeforeMs = 0;
  const closing = new AbortController();

  const refresh = async (): Promise<string> => {
    const limit = new AbortController();
    const cancel = clock.inBackground(REFRESH_LIMIT_MS, () =>
      limit.abort(new ConnectorError('timeout', 'the token was not answered in time')),
    );
    const signal = AbortSignal.any([limit.signal, closing.signal]);
    try {
      const { token, lifeMs } = await fetchToken(signal);
      held = { token, lifeMs, expiresAtMs: clock.monotonicMs() + lifeMs };
      return token;
    } catch (error) {
      notBeforeMs = clock.monotonicMs() + RETRY_AFTER_MS;
      throw isConnectorError(error) ? error : networkFailure(error, signal);
    } finally {
      cancel();
      refreshing = undefined;
    }
  };

  return {
    async current(signal) {
      if (signal.aborted) throw networkFailure(signal.reason, signal);
      const now = clock.monotonicMs();
      const leftMs = held === undefined ? 0 : held.expiresAtMs - now;
      const isGood = held !== undefined && leftMs > Math.min(UNUSABLE_BEFORE_MS, held.lifeMs / 4);
      if (held !== undefined && leftMs > Math.min(REFRESH_BEFORE_MS, held.lifeMs / 2)) return held.token;
      if (held !== undefined && isGood) {
        if (refreshing === undefined && now >= notBeforeMs) {
          refreshing = refresh();
          refreshing.catch((error: unknown) =>
            log.warn('the token could not be refreshed yet', { error: String(error) }),
          );
        }
        return held.token;
      }
      return untilAborted((refreshing ??= refresh()), signal);
    },
    forget(token) {
      if (held?.token === token) held = undefined;
    },
    close: () => closing.abort(cancelled()),
  };
}

/** What `shared` resolves to, unless this one caller gives up before. */
export function untilAborted<T>(shared: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) return Promise.reject(networkFailure(signal.reason, signal));
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(networkFailure(signal.reason, signal));
    signal.addEventListener('abort', onAbort, { once: true });
    shared.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
