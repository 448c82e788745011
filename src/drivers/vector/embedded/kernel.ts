import type { DistanceMetric } from '../../../driver.ts';
import { kernelBytes } from './kernel-wasm.ts';

/** Dot products (`dot`) or squared distances (`square`) of the query with each row of a block; addresses in bytes. */
export type BlockScan = (query: number, rows: number, count: number, rowBytes: number, out: number) => void;
export type Kernel = { readonly dot: BlockScan; readonly square: BlockScan };

/** A WebAssembly memory, as much as is used of one. */
export type KernelMemory = { readonly buffer: ArrayBuffer; grow(blocks: number): void };

// The global of that name has no types without the browser's; this is the part that is used.
type WebAssemblyPort = {
  readonly Memory: new (size: { readonly initial: number; readonly maximum: number }) => KernelMemory;
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
};

/** A memory and the kernel as machine code with SIMD, or `undefined` where this process lacks either. */
export function simdKernel(size: {
  readonly initial: number;
  readonly maximum: number;
}): { readonly memory: KernelMemory; readonly kernel: Kernel } | undefined {
  const { WebAssembly: port } = globalThis as { readonly WebAssembly?: WebAssemblyPort };
  if (port === undefined) return undefined;
  try {
    const memory = new port.Memory(size);
    const { exports } = new port.Instance(new port.Module(kernelBytes()), { host: { memory } });
    // The module is our own: these are its two exports.
    return { memory, kernel: exports as Kernel };
  } catch {
    return undefined;
  }
}

/** The same in plain JavaScript, over whatever `floats` answers at the moment. */
export function plainKernel(floats: () => Float32Array): Kernel {
  return {
    dot(query, rows, count, rowBytes, out) {
      const memory = floats();
      for (let row = 0; row < count; row++) {
        let [v, q] = [(rows + row * rowBytes) >> 2, query >> 2];
        let [a, b, c, d] = [0, 0, 0, 0];
        for (const end = v + (rowBytes >> 2); v < end; v += 4, q += 4) {
          a += at(memory, q) * at(memory, v);
          b += at(memory, q + 1) * at(memory, v + 1);
          c += at(memory, q + 2) * at(memory, v + 2);
          d += at(memory, q + 3) * at(memory, v + 3);
        }
        memory[(out >> 2) + row] = a + b + (c + d);
      }
    },
    square(query, rows, count, rowBytes, out) {
      const memory = floats();
      for (let row = 0; row < count; row++) {
        let [v, q] = [(rows + row * rowBytes) >> 2, query >> 2];
        let [a, b] = [0, 0];
        for (const end = v + (rowBytes >> 2); v < end; v += 2, q += 2) {
          const x = at(memory, q) - at(memory, v);
          const y = at(memory, q + 1) - at(memory, v + 1);
          a += x * x;
          b += y * y;
        }
        memory[(out >> 2) + row] = a + b;
      }
    },
  };
}

/** The element of a typed array at an index that is known to exist. */
function at(floats: Float32Array, index: number): number {
  return floats[index] ?? 0;
}

/**
 * The raw score of two vectors in float64: what every answer is given in, however its candidates were found.
 * `offset` is where the second vector starts.
 */
export function rawScore(
  metric: DistanceMetric,
  query: Float32Array,
  values: Float32Array,
  offset = 0,
): number {
  let dot = 0;
  let queryNorm = 0;
  let norm = 0;
  if (metric === 'euclidean') {
    for (let i = 0; i < query.length; i++) {
      const difference = at(query, i) - at(values, offset + i);
      norm += difference * difference;
    }
    return Math.sqrt(norm);
  }
  for (let i = 0; i < query.length; i++) {
    const a = at(query, i);
    const b = at(values, offset + i);
    dot += a * b;
    queryNorm += a * a;
    norm += b * b;
  }
  if (metric === 'dot') return dot;
  // A zero vector has no direction; the connector refuses it, so this only keeps NaN out of an order.
  const product = Math.sqrt(queryNorm) * Math.sqrt(norm);
  return product === 0 ? 0 : Math.min(1, Math.max(-1, dot / product));
}

/** The length of the vector, in float64. */
export function norm(values: Float32Array): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}
