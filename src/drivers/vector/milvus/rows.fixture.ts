import type { Fields } from './expression.fixture.ts';

/** A field as `CreateCollection` declared it. */
export type FieldSchema = {
  readonly name: string;
  readonly data_type: string;
  readonly element_type?: string;
  readonly is_primary_key?: boolean;
  readonly nullable?: boolean;
  readonly type_params: readonly { readonly key: string; readonly value: string }[];
};

type Data = { readonly data: readonly unknown[] };
/** A column as the contract's `schema.FieldData` has it, decoded. */
export type FieldData = {
  readonly type: string;
  readonly field_name: string;
  readonly scalars?: {
    readonly string_data?: Data;
    readonly json_data?: Data;
    readonly long_data?: Data;
    readonly array_data?: { readonly data: readonly { readonly string_data?: Data }[] };
  };
  readonly vectors?: { readonly dim: string; readonly float_vector?: { readonly data: readonly number[] } };
  readonly valid_data: readonly boolean[];
};

/**
 * The rows in the columns of a request.
 *
 * @throws Error for what the schema does not allow: lengths in bytes, capacity, dimension, absent or unknown fields.
 */
export function rowsIn(
  columns: readonly FieldData[],
  schema: readonly FieldSchema[],
  rows: number,
): readonly Fields[] {
  for (const { field_name: name } of columns)
    if (!schema.some((field) => field.name === name)) throw new Error(`field ${name} is not in the schema`);
  const read = schema.map((field) => {
    const column = columns.find((one) => one.field_name === field.name);
    if (!column) throw new Error(`field ${field.name} is missing`);
    if (column.type !== field.data_type) throw new Error(`field ${field.name} is not ${column.type}`);
    const values = valuesIn(column, field, rows);
    for (const value of values) checkValue(field, value);
    return [field.name, values] as const;
  });
  return Array.from({ length: rows }, (_, i) =>
    Object.fromEntries(read.map(([name, values]) => [name, values[i]])),
  );
}

function valuesIn(
  column: FieldData,
  { name, nullable, type_params: params }: FieldSchema,
  rows: number,
): readonly unknown[] {
  const { scalars, vectors, valid_data: valid } = column;
  if (vectors) {
    const dim = Number(param(params, 'dim'));
    const flat = vectors.float_vector?.data ?? [];
    if (Number(vectors.dim) !== dim || flat.length !== dim * rows)
      throw new Error(`the dim of the input vectors is not ${dim}`);
    return Array.from({ length: rows }, (_, i) => flat.slice(i * dim, (i + 1) * dim));
  }
  const values =
    scalars?.string_data?.data ??
    scalars?.json_data?.data.map((bytes) => JSON.parse(String(bytes)) as unknown) ??
    scalars?.array_data?.data.map((one) => one.string_data?.data ?? []) ??
    [];
  if (nullable) {
    if (valid.length !== rows || valid.filter(Boolean).length !== values.length)
      throw new Error(`field ${name} has not as many values as it says`);
    let next = 0;
    return valid.map((is) => (is ? values[next++] : null));
  }
  if (values.length !== rows) throw new Error(`field ${name} has ${values.length} of ${rows} values`);
  return values;
}

function checkValue({ name, data_type: type, type_params: params }: FieldSchema, value: unknown): void {
  const most = Number(param(params, 'max_length'));
  const check = (text: unknown): void => {
    if (typeof text !== 'string' || Buffer.byteLength(text) > most)
      throw new Error(`length of varchar field ${name} exceeds max length ${most}`);
  };
  if (type === 'VarChar' && value !== null) check(value);
  if (type === 'JSON' && Buffer.byteLength(JSON.stringify(value)) > 65_536)
    throw new Error('JSON is too long');
  if (type !== 'Array') return;
  const items = value as readonly unknown[];
  if (items.length > Number(param(params, 'max_capacity'))) throw new Error(`the array ${name} is too long`);
  for (const item of items) check(item);
}

export function param(params: FieldSchema['type_params'], key: string): string | undefined {
  return params.find((one) => one.key === key)?.value;
}

/** A column of an answer; nulls have a place in it and are marked in `valid_data`. */
export function columnOf(rows: readonly Fields[], { name, data_type: type, nullable }: FieldSchema) {
  const values = rows.map((row) => row[name]);
  const head = {
    type,
    field_name: name,
    valid_data: nullable ? values.map((value) => value !== null) : [],
  };
  if (type === 'FloatVector') {
    const dim = (values[0] as readonly number[] | undefined)?.length ?? 0;
    return { ...head, vectors: { dim, float_vector: { data: values.flat() } } };
  }
  if (type === 'VarChar')
    return { ...head, scalars: { string_data: { data: values.map((value) => value ?? '') } } };
  throw new Error(`${name} is not a field that anybody asks for`);
}
