import { type Kernel, type KernelMemory, plainKernel, simdKernel } from './kernel.ts';

/** Bytes of a block, which is one page of WebAssembly memory. */
export const BLOCK_BYTES = 65_536;
/** 1 GiB: beyond it a collection is scanned from disk. */
const MAX_BLOCKS = 16_384;
const QUERY_BLOCK = 0;
const OUT_BLOCK = 1;

/**
 * The memory that the kernel reads, in blocks that all collections of the thread share.
 *
 * One memory instead of one per collection: a WebAssembly memory never shrinks and reserves address space, and 300 of
 * them would be released only when the collector pleases. Freed blocks are used again at once.
 */
export class Arena {
  readonly kernel: Kernel;
  readonly #memory: KernelMemory;
  readonly #free: number[] = [];
  #floats: Float32Array;
  #size = 2;

  /** `simd: false` does without the machine code, as where there is none. */
  constructor({ simd = true }: { readonly simd?: boolean } = {}) {
    const fast = simd ? simdKernel({ initial: 2, maximum: MAX_BLOCKS }) : undefined;
    this.#memory = fast?.memory ?? plainMemory();
    this.#floats = new Float32Array(this.#memory.buffer);
    this.kernel = fast?.kernel ?? plainKernel(() => this.#floats);
  }

  /** All of the memory; valid until the next {@link allocate}. */
  get floats(): Float32Array {
    return this.#floats;
  }

  /** Blocks in use. */
  get used(): number {
    return this.#size - 2 - this.#free.length;
  }

  /** The number of a block that is now the caller's, or `undefined` when there is none left. */
  allocate(): number | undefined {
    const reused = this.#free.pop();
    if (reused !== undefined) return reused;
    if (this.#size === MAX_BLOCKS) return undefined;
    const step = Math.min(16, MAX_BLOCKS - this.#size);
    try {
      this.#memory.grow(step);
    } catch {
      return undefined;
    }
    this.#floats = new Float32Array(this.#memory.buffer);
    for (let block = this.#size + step - 1; block > this.#size; block--) this.#free.push(block);
    const block = this.#size;
    this.#size += step;
    return block;
  }

  release(blocks: readonly number[]): void {
    this.#free.push(...blocks);
  }

  /** Puts the query where the kernel reads it, padded with zeros to a whole row. */
  setQuery(query: Float32Array, rowBytes: number): void {
    const start = (QUERY_BLOCK * BLOCK_BYTES) / 4;
    this.#floats.fill(0, start, start + rowBytes / 4);
    this.#floats.set(query, start);
  }

  /** The kernel's answers for the first `count` rows of a block; valid until the next call. */
  scan(operation: keyof Kernel, block: number, count: number, rowBytes: number): Float32Array {
    const out = OUT_BLOCK * BLOCK_BYTES;
    this.kernel[operation](QUERY_BLOCK * BLOCK_BYTES, block * BLOCK_BYTES, count, rowBytes, out);
    return this.#floats.subarray(out / 4, out / 4 + count);
  }
}

function plainMemory(): KernelMemory {
  // Moved when it grows: the views of a resizable buffer are several times slower to read.
  let buffer = new ArrayBuffer(2 * BLOCK_BYTES);
  return {
    get buffer() {
      return buffer;
    },
    grow(blocks) {
      buffer = buffer.transfer(buffer.byteLength + blocks * BLOCK_BYTES);
    },
  };
}
