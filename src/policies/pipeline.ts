/** One run of one operation, as the policies see it. */
export type Call = {
  /** Dotted name of the operation, such as `vector.search`. */
  readonly operation: string;
  /** Whether repeating the call has the effect of calling once; decides what is retried. */
  readonly idempotent: boolean;
  /** 1 for the first attempt. */
  readonly attempt: number;
  /** Aborted when the caller gives up or the attempt's time is over. */
  readonly signal: AbortSignal;
  /** Says that a stream moved: the attempt's time limit starts anew. Does nothing outside a timeout policy. */
  readonly progress: () => void;
  /** The caller repeats it himself, if at all. */
  readonly once?: boolean;
  /** A limit for each attempt that replaces the connector's own, in milliseconds. */
  readonly timeoutMs?: number;
};

export type Run<T> = (call: Call) => Promise<T>;
export type Policy = <T>(next: Run<T>) => Run<T>;

/** Folds policies around a call; the first one listed is the outermost. */
export function pipeline(...policies: readonly Policy[]): Policy {
  return (next) => policies.reduceRight((inner, policy) => policy(inner), next);
}

/** The signal of a call that nobody can end. */
export const NEVER: AbortSignal = new AbortController().signal;
