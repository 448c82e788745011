/**
 * Counts of attempts by key, each forgotten when its window ends.
 *
 * They outlive the policies that draw on them: a connector that is closed while idle and opened again has no new slots.
 * The timers behind them never keep the process alive.
 */
export interface RateLimitCounters {
  /** Counts one attempt, or so many: how many there were in this window with them, and milliseconds until it ends. */
  count(
    key: string,
    windowMs: number,
    more?: number,
  ): Promise<{
    readonly attempts: number;
    readonly leftMs: number;
    /** Counted by this process alone, one of so many that share the limit; absent where all are counted together. */
    readonly servers?: number;
  }>;
}
