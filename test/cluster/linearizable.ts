/** One call as it was seen from outside; by `performance.now()`. */
export type Observed<State> = {
  readonly startMs: number;
  /** Infinite where it was not heard how it ended: it may have been carried out at any time since, or never. */
  readonly endMs: number;
  /** The state after it, or undefined where what was answered cannot come of this one. */
  readonly apply: (before: State) => State | undefined;
  readonly text: string;
};

/**
 * Whether calls that overlapped can be put in one order that keeps to what followed what, and in which each answer is
 * right (Wing and Gong, with what was tried remembered as Lowe has it).
 */
export function isLinearizable<State>(history: readonly Observed<State>[], initial: State): boolean {
  const calls = history.toSorted((a, b) => a.startMs - b.startMs);
  const tried = new Set<string>();
  type Place = { readonly done: bigint; readonly from: number; readonly state: State };
  const stack: Place[] = [{ done: 0n, from: 0, state: initial }];
  for (;;) {
    const place = stack.pop();
    if (!place) return false;
    const { done, from, state } = place;
    let firstEndMs = Number.POSITIVE_INFINITY;
    const next: Place[] = [];
    for (let at = from; at < calls.length; at++) {
      const call = calls[at];
      // Whoever began after another had ended comes after it.
      if (!call || call.startMs > firstEndMs) break;
      const bit = 1n << BigInt(at);
      if (done & bit) continue;
      firstEndMs = Math.min(firstEndMs, call.endMs);
      const after = call.apply(state);
      if (after === undefined) continue;
      const reached = done | bit;
      const key = `${reached.toString(36)} ${JSON.stringify(after)}`;
      if (tried.has(key)) continue;
      tried.add(key);
      next.push({ done: reached, from: firstOpen(reached, from), state: after });
    }
    // Nothing is left that was heard to end.
    if (firstEndMs === Number.POSITIVE_INFINITY) return true;
    // The earliest is tried first.
    stack.push(...next.toReversed());
  }
}

function firstOpen(done: bigint, from: number): number {
  let at = from;
  while (done & (1n << BigInt(at))) at += 1;
  return at;
}
