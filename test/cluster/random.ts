/** Choices that one number decides, so that a run can be had again as far as the machine lets it. */
export type Random = {
  /** From 0 up to 1, without 1. */
  next(): number;
  /** From 0 up to `below`, without it. */
  int(below: number): number;
  chance(share: number): boolean;
  pick<T>(choices: readonly T[]): T;
  /** Choices of its own for one part of the work, whatever the others choose meanwhile. */
  fork(name: string): Random;
};

/** Mulberry32 with this seed. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const int = (below: number): number => Math.floor(next() * below);
  return {
    next,
    int,
    chance: (share) => next() < share,
    pick(choices) {
      if (choices.length === 0) throw new Error('there is nothing to choose from');
      // In bounds: the list is not empty.
      return choices[int(choices.length)] as (typeof choices)[number];
    },
    fork: (name) => seededRandom(hashOf(`${seed}:${name}`)),
  };
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
