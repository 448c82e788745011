import { cancelled, type Clock } from '../../contract/clock.ts';
import { ConnectorError } from '../../errors/error.ts';

export type BodyOptions = {
  readonly source: AsyncIterable<Uint8Array>;
  readonly clock: Clock;
  /** How long the backend may take for one chunk. */
  readonly waitMs: number;
  /** How long the reader may take between two chunks. */
  readonly idleMs: number;
  readonly signal: AbortSignal;
  /** The error as the caller sees it. */
  readonly named: (error: unknown) => ConnectorError;
  /** Called once, however the body ends. */
  readonly onEnd: () => void;
};

/**
 * The chunks of `source`, with an end that always comes: it is consumed, its reader ends it, the signal is aborted, the
 * backend stalls for `waitMs`, or the reader stalls for `idleMs`. Whichever it is, the source is told to stop at once.
 *
 * @throws ConnectorError `timeout` after a stall, `cancelled` after an abort, or what the source threw.
 */
export function watchedBody(options: BodyOptions): AsyncIterableIterator<Uint8Array> {
  const { source, clock, waitMs, idleMs, signal, named, onEnd } = options;
  const iterator = source[Symbol.asyncIterator]();
  let isEnded = false;
  let failure: ConnectorError | undefined;
  let rejectStep: ((error: ConnectorError) => void) | undefined;

  const end = () => {
    if (isEnded) return;
    isEnded = true;
    cancelTimer();
    signal.removeEventListener('abort', onAbort);
    onEnd();
    // Not awaited: a generator that is stalled would answer only after the chunk that never comes.
    void iterator.return?.().catch(() => {});
  };
  const fail = (error: ConnectorError) => {
    if (isEnded) return;
    failure = error;
    end();
    rejectStep?.(error);
  };
  const expire = (who: string, limitMs: number) => () =>
    fail(named(new ConnectorError('timeout', `${who} for ${limitMs} ms`, { details: { limitMs } })));
  const onAbort = () => fail(named(cancelled(signal)));

  // Nobody waits for a body that nobody reads, so this timer keeps no process alive.
  const watchReader = () => clock.inBackground(idleMs, expire('the body was not read', idleMs));
  let cancelTimer = watchReader();
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();

  const next = () =>
    new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
      if (failure !== undefined) return reject(failure);
      if (isEnded) return resolve({ done: true, value: undefined });
      rejectStep = reject;
      cancelTimer();
      cancelTimer = clock.after(waitMs, expire('the backend sent nothing', waitMs));
      iterator.next().then(
        (step) => {
          if (isEnded) return resolve({ done: true, value: undefined });
          cancelTimer();
          if (step.done) end();
          else cancelTimer = watchReader();
          resolve(step);
        },
        (error: unknown) => fail(named(error)),
      );
    });

  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next,
    return: async () => {
      end();
      return { done: true, value: undefined };
    },
  };
}
