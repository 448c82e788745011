/**
 * The bytes of a WebAssembly module with two functions over an imported memory, assembled here because there is no
 * compiler at run time: `dot` and `square` (the squared distance) of one query with each row of a block.
 *
 * Both take (query, rows' start, number of rows > 0, bytes of a row, output), addresses in bytes. A row is a multiple
 * of 64 bytes: sixteen float32 a step in four accumulators, which hides the latency of the additions.
 */
export function kernelBytes(): Uint8Array<ArrayBuffer> {
  const type = [0x60, ...vector([I32, I32, I32, I32, I32].map((t) => [t])), 0];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [type]),
    ...section(2, [[...name('host'), ...name('memory'), 0x02, 0x00, 1]]),
    ...section(3, [[0], [0]]),
    ...section(7, [
      [...name('dot'), 0x00, 0],
      [...name('square'), 0x00, 1],
    ]),
    ...section(10, [sized(body(DOT)), sized(body(SQUARE))]),
  ]);
}

const I32 = 0x7f;
const V128 = 0x7b;
const END = 0x0b;
// Parameters and locals by number.
const [QUERY, ROW, ROWS, ROW_BYTES, OUT, AT, ROW_END, SUM, TERM] = [0, 1, 2, 3, 4, 5, 6, 7, 11];

const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const constant = (value: number) => [0x41, ...signed(value)];
const I32_ADD = [0x6a];
const I32_SUB = [0x6b];
const I32_LT_U = [0x49];
const F32_ADD = [0x92];
const F32_STORE = [0x38, 2, 0];
const simd = (code: number) => [0xfd, ...unsigned(code)];
const load = (offset: number) => [...simd(0), 4, offset];
const F32X4_ADD = simd(228);
const F32X4_SUB = simd(229);
const F32X4_MUL = simd(230);
const V128_ZERO = [...simd(12), ...new Array<number>(16).fill(0)];
const lane = (index: number) => [...simd(31), index];
const advance = (local: number, bytes: number) => [
  ...get(local),
  ...constant(bytes),
  ...I32_ADD,
  ...set(local),
];

type Step = (offset: number) => readonly number[];
const DOT: Step = (offset) => [...get(AT), ...load(offset), ...get(ROW), ...load(offset), ...F32X4_MUL];
const SQUARE: Step = (offset) => [
  ...[...get(AT), ...load(offset), ...get(ROW), ...load(offset), ...F32X4_SUB],
  ...[...set(TERM), ...get(TERM), ...get(TERM), ...F32X4_MUL],
];

function body(step: Step): readonly number[] {
  const lanes = [0, 1, 2, 3];
  const loop = (code: readonly number[]) => [0x03, 0x40, ...code, END];
  const repeatIf = [0x0d, 0];
  return [
    ...vector([
      [2, I32],
      [5, V128],
    ]),
    ...loop([
      ...lanes.flatMap((i) => [...V128_ZERO, ...set(SUM + i)]),
      ...[...get(QUERY), ...set(AT)],
      ...[...get(ROW), ...get(ROW_BYTES), ...I32_ADD, ...set(ROW_END)],
      ...loop([
        ...lanes.flatMap((i) => [...get(SUM + i), ...step(i * 16), ...F32X4_ADD, ...set(SUM + i)]),
        ...advance(AT, 64),
        ...advance(ROW, 64),
        ...[...get(ROW), ...get(ROW_END), ...I32_LT_U, ...repeatIf],
      ]),
      ...[...get(SUM), ...get(SUM + 1), ...F32X4_ADD, ...get(SUM + 2), ...get(SUM + 3), ...F32X4_ADD],
      ...[...F32X4_ADD, ...set(TERM), ...get(OUT)],
      ...lanes.flatMap((i) => [...get(TERM), ...lane(i), ...(i === 0 ? [] : F32_ADD)]),
      ...F32_STORE,
      ...advance(OUT, 4),
      ...[...get(ROWS), ...constant(1), ...I32_SUB, 0x22, ROWS, ...repeatIf],
    ]),
    END,
  ];
}

function section(id: number, items: readonly (readonly number[])[]): readonly number[] {
  return [id, ...sized(vector(items))];
}

function sized(bytes: readonly number[]): readonly number[] {
  return [...unsigned(bytes.length), ...bytes];
}

function vector(items: readonly (readonly number[])[]): readonly number[] {
  return [...unsigned(items.length), ...items.flat()];
}

function name(text: string): readonly number[] {
  return sized([...Buffer.from(text)]);
}

/** LEB128. */
function unsigned(value: number): readonly number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): readonly number[] {
  const rest = value >> 7;
  const done = (rest === 0 && !(value & 0x40)) || (rest === -1 && value & 0x40);
  return done ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(rest)];
}
