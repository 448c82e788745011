import { byteOrder } from '../../../driver.ts';

/** Paths in order of their UTF-8 bytes. */
export class SortedPaths {
  readonly #paths: string[] = [];

  add(path: string): void {
    const at = this.#countBefore((other) => byteOrder(other, path) < 0);
    if (this.#paths[at] !== path) this.#paths.splice(at, 0, path);
  }

  remove(path: string): void {
    const at = this.#countBefore((other) => byteOrder(other, path) < 0);
    if (this.#paths[at] === path) this.#paths.splice(at, 1);
  }

  /** The first path after `path`; undefined at the end. */
  after(path: string): string | undefined {
    return this.#paths[this.#countBefore((other) => byteOrder(other, path) <= 0)];
  }

  /** The first path after all that begin with `prefix`. */
  afterAll(prefix: string): string | undefined {
    return this.#paths[
      this.#countBefore((other) => other.startsWith(prefix) || byteOrder(other, prefix) <= 0)
    ];
  }

  /** How many paths there are at the beginning for which `isBefore` holds: it holds for no later one. */
  #countBefore(isBefore: (path: string) => boolean): number {
    let low = 0;
    let high = this.#paths.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBefore(this.#paths[middle] ?? '')) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
