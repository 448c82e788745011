/**
 * Numbers for rows, those of removed rows again first: so they stay dense, and can be indexes into arrays.
 *
 * A draft takes numbers for a transaction, and counts only once that has committed.
 */
export class Slots {
  readonly #free: number[];
  #next: number;

  private constructor(free: number[], next: number) {
    this.#free = free;
    this.#next = next;
  }

  /** `used` is asked only where so many numbers lie idle that knowing them is worth a look at all rows. */
  static of(count: number, max: number, used: () => readonly number[]): Slots {
    return new Slots(max + 1 > 2 * count + 1_024 ? gaps(used(), max) : [], max + 1);
  }

  static none(): Slots {
    return new Slots([], 0);
  }

  free(slot: number): void {
    this.#free.push(slot);
  }

  draft(): Draft {
    let freeLeft = this.#free.length;
    let next = this.#next;
    let taken = 0;
    return {
      get taken() {
        return taken;
      },
      take: () => {
        taken += 1;
        return freeLeft > 0 ? (this.#free[--freeLeft] ?? next++) : next++;
      },
      commit: () => {
        this.#free.length = freeLeft;
        this.#next = next;
      },
    };
  }
}

type Draft = {
  /** How many were taken. */
  readonly taken: number;
  take(): number;
  commit(): void;
};

/** The numbers from 0 to `max` that are not among those used. */
function gaps(used: readonly number[], max: number): number[] {
  const taken = new Uint8Array(max + 1);
  for (const slot of used) taken[slot] = 1;
  return Array.from(taken.keys()).filter((slot) => taken[slot] === 0);
}
