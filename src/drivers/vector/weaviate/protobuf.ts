import { ConnectorError } from '../../../driver.ts';

/** The encoding of https://protobuf.dev/programming-guides/encoding/ (read 2026-11-25), as far as the messages here need it. */

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** One message of fields that are encoded already; `undefined` is a field that is left out. */
export function message(...fields: readonly (Uint8Array | undefined)[]): Uint8Array {
  return Buffer.concat(fields.filter((field) => field !== undefined));
}

/** A field of bytes, or of a message. */
export function bytes(field: number, value: Uint8Array): Uint8Array {
  return Buffer.concat([varint(field * 8 + BYTES), varint(value.length), value]);
}

export function text(field: number, value: string): Uint8Array {
  return bytes(field, Buffer.from(value));
}

/** A number of at least 0, an enum or, as 0 and 1, a boolean. */
export function count(field: number, value: number): Uint8Array {
  return Buffer.concat([varint(field * 8 + VARINT), varint(value)]);
}

export function double(field: number, value: number): Uint8Array {
  const out = Buffer.alloc(8);
  out.writeDoubleLE(value);
  return Buffer.concat([varint(field * 8 + FIXED64), out]);
}

/** Float32 numbers as Weaviate takes vectors: little-endian bytes. */
export function packed(values: readonly number[] | Float32Array): Buffer {
  const out = Buffer.allocUnsafe(values.length * 4);
  for (let i = 0; i < values.length; i++) out.writeFloatLE(values[i] ?? 0, i * 4);
  return out;
}

/** The numbers of {@link packed}. */
export function unpacked(packed: Buffer): number[] {
  return Array.from({ length: packed.length / 4 }, (_, i) => packed.readFloatLE(i * 4));
}

function varint(value: number): Uint8Array {
  const out: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) out.push((rest % 0x80) | 0x80);
  out.push(rest);
  return Uint8Array.from(out);
}

/** What one message holds, by field number; a field that is not there is empty, 0 or absent. */
export type Decoded = {
  /** The last one, as protobuf has it for a field that does not repeat. */
  bytes(field: number): Buffer | undefined;
  all(field: number): readonly Buffer[];
  text(field: number): string | undefined;
  /** Sub-messages. */
  messages(field: number): readonly Decoded[];
  message(field: number): Decoded | undefined;
  /** A varint up to 2^53, or a float; 0 where there is none. */
  number(field: number): number;
};

/** @throws ConnectorError `backend_error` for bytes that are no message. */
export function decoded(input: Buffer): Decoded {
  const found = new Map<number, (Buffer | number)[]>();
  for (let at = 0; at < input.length;) {
    const tag = readVarint(input, at);
    const { value, next } = readValue(input, tag.next, tag.value % 8);
    const field = Math.floor(tag.value / 8);
    const values = found.get(field);
    if (values) values.push(value);
    else found.set(field, [value]);
    at = next;
  }
  const all = (field: number) =>
    (found.get(field) ?? []).map((value) => {
      if (typeof value === 'number') throw notProtobuf();
      return value;
    });
  return {
    all,
    bytes: (field) => all(field).at(-1),
    text: (field) => all(field).at(-1)?.toString('utf8'),
    messages: (field) => all(field).map(decoded),
    message(field) {
      const parts = all(field);
      return parts.length === 0 ? undefined : decoded(Buffer.concat(parts));
    },
    number(field) {
      const value = found.get(field)?.at(-1) ?? 0;
      if (typeof value !== 'number') throw notProtobuf();
      return value;
    },
  };
}

function readValue(input: Buffer, at: number, wire: number): { value: Buffer | number; next: number } {
  if (wire === VARINT) return readVarint(input, at);
  const start = wire === BYTES ? readVarint(input, at) : { value: wire === FIXED64 ? 8 : 4, next: at };
  const next = start.next + start.value;
  if (next > input.length || ![FIXED64, BYTES, FIXED32].includes(wire)) throw notProtobuf();
  if (wire === FIXED64) return { value: input.readDoubleLE(at), next };
  if (wire === FIXED32) return { value: input.readFloatLE(at), next };
  return { value: input.subarray(start.next, next), next };
}

function readVarint(input: Buffer, from: number): { value: number; next: number } {
  let value = 0;
  let scale = 1;
  for (let at = from; at < input.length && at < from + 10; at++, scale *= 0x80) {
    const byte = input[at] ?? 0;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return { value, next: at + 1 };
  }
  throw notProtobuf();
}

function notProtobuf(): ConnectorError {
  return new ConnectorError('backend_error', 'the backend answered bytes that are no protobuf message');
}
