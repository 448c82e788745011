/**
 * Objects by id: one object for one id, however often it is asked for.
 *
 * The most recently used are kept; any other lives as long as somebody holds it. Two generations stand in for a list
 * ordered by use, because reordering such a list on each hit costs more than the rest of `get`.
 */
export class Instances<T extends object> {
  readonly #generationSize: number;
  readonly #held = new Map<string, WeakRef<T>>();
  readonly #collected = new FinalizationRegistry<string>((id) => {
    if (this.#held.get(id)?.deref() === undefined) this.#held.delete(id);
  });
  #young = new Map<string, T>();
  #old = new Map<string, T>();

  /** @param capacity objects that are kept at most although nobody else holds them. */
  constructor(capacity: number) {
    this.#generationSize = Math.max(1, capacity >> 1);
  }

  get(id: string): T | undefined {
    const young = this.#young.get(id);
    if (young) return young;
    const found = this.#old.get(id) ?? this.#held.get(id)?.deref();
    if (found) this.#keep(id, found);
    return found;
  }

  add(id: string, instance: T): void {
    this.#held.set(id, new WeakRef(instance));
    this.#collected.register(instance, id);
    this.#keep(id, instance);
  }

  delete(id: string): void {
    this.#young.delete(id);
    this.#old.delete(id);
    this.#held.delete(id);
  }

  /** Every object that is still alive. */
  *values(): Iterable<T> {
    for (const reference of this.#held.values()) {
      const instance = reference.deref();
      if (instance) yield instance;
    }
  }

  #keep(id: string, instance: T): void {
    if (this.#young.size >= this.#generationSize) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(id, instance);
  }
}
