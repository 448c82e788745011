import { ConnectorError } from '../../../driver.ts';
import { bytes, count, decoded, double, message, packed, text } from './protobuf.ts';

/**
 * The few of Weaviate's messages that are needed here, field by field as
 * https://github.com/weaviate/weaviate/tree/main/grpc/proto/v1 numbers them (read 2026-11-25). The tests read them with
 * the code that Weaviate's own client was generated with.
 */

/** A filter in Weaviate's terms. Lists are never empty. */
export type Where =
  | { readonly op: 'and' | 'or'; readonly operands: readonly Where[] }
  | {
      readonly op: 'containsAny' | 'containsNone';
      readonly property: string;
      readonly values: readonly string[];
    }
  | {
      readonly op: 'gt' | 'gte' | 'lt' | 'lte';
      readonly property: string;
      readonly value: number;
    };

/** What a request is about. */
export type Scope = { readonly collection: string; readonly tenant?: string | undefined };

/** The property that filters name an object's own id by. */
export const ID_PROPERTY = '_id';

const OPERATORS = {
  gt: 3,
  gte: 4,
  lt: 5,
  lte: 6,
  and: 7,
  or: 8,
  containsAny: 12,
  containsNone: 14,
} as const;

const CONSISTENCY_LEVEL_ALL = 3;
const VECTOR_TYPE_SINGLE_FP32 = 1;

export type SearchRequest = Scope & {
  readonly limit: number;
  readonly properties: readonly string[];
  readonly vector?: readonly number[] | Float32Array | undefined;
  readonly where?: Where | undefined;
  /** The id of the object before the first one. */
  readonly after?: string | undefined;
};

export function searchRequest(request: SearchRequest): Uint8Array {
  const { limit, properties, vector, where, after } = request;
  return message(
    ...scoped(request, 10),
    bytes(20, message(...properties.map((name) => text(1, name)))),
    bytes(21, message(count(1, 1), vector && count(5, 1))),
    count(30, limit),
    after === undefined ? undefined : text(33, after),
    where && bytes(40, filters(where)),
    vector && bytes(43, bytes(9, message(bytes(3, packed(vector)), count(4, VECTOR_TYPE_SINGLE_FP32)))),
    // The answer's properties have had this form since Weaviate 1.27.
    count(100, 1),
    count(101, 1),
    count(102, 1),
  );
}

/** An object that a search found. */
export type Found = {
  /** The object's own id, a UUID. */
  readonly uuid: string;
  /** A float32; 0 where there was no vector to compare with. */
  readonly distance: number;
  /** Those of the properties that are texts and have a value. */
  readonly texts: ReadonlyMap<string, string>;
};

export function searchReply(reply: Buffer): readonly Found[] {
  return decoded(reply)
    .messages(2)
    .map((result) => {
      const metadata = result.message(2);
      const entries = result.message(1)?.message(11)?.messages(1) ?? [];
      const texts = new Map<string, string>();
      for (const entry of entries) {
        const value = entry.message(2)?.text(13);
        if (value !== undefined) texts.set(entry.text(1) ?? '', value);
      }
      return { uuid: metadata?.text(1) ?? '', distance: metadata?.number(7) ?? 0, texts };
    });
}

/** An object as it is written. */
export type NewObject = {
  readonly uuid: string;
  readonly vector: readonly number[] | Float32Array;
  readonly properties: Readonly<Record<string, string | number>>;
  readonly lists: Readonly<Record<string, readonly string[]>>;
};

/** One object of {@link batchRequest}, by itself because its length decides how many go into one. */
export function batchObject({ collection, tenant }: Scope, object: NewObject): Uint8Array {
  const struct = Object.entries(object.properties).map(([name, value]) =>
    bytes(1, message(text(1, name), bytes(2, typeof value === 'number' ? double(2, value) : text(3, value)))),
  );
  const lists = Object.entries(object.lists).map(([name, values]) =>
    bytes(6, message(...values.map((value) => text(1, value)), text(2, name))),
  );
  return message(
    text(1, object.uuid),
    bytes(3, message(bytes(1, message(...struct)), ...lists)),
    text(4, collection),
    tenant === undefined ? undefined : text(5, tenant),
    bytes(6, packed(object.vector)),
  );
}

export function batchRequest(objects: readonly Uint8Array[]): Uint8Array {
  return message(...objects.map((object) => bytes(1, object)), count(2, CONSISTENCY_LEVEL_ALL));
}

/** The objects of a batch that were refused. */
export function batchReply(reply: Buffer): readonly { readonly index: number; readonly message: string }[] {
  return decoded(reply)
    .messages(2)
    .map((error) => ({ index: error.number(1), message: error.text(2) ?? '' }));
}

export function deleteRequest({ collection, tenant }: Scope, where: Where): Uint8Array {
  return message(
    text(1, collection),
    bytes(2, filters(where)),
    count(5, CONSISTENCY_LEVEL_ALL),
    tenant === undefined ? undefined : text(6, tenant),
  );
}

export type Deleted = { readonly failed: number; readonly matches: number; readonly successful: number };

export function deleteReply(reply: Buffer): Deleted {
  const fields = decoded(reply);
  return { failed: fields.number(2), matches: fields.number(3), successful: fields.number(4) };
}

export function countRequest(scope: Scope, where: Where | undefined): Uint8Array {
  return message(...scoped(scope, 10), count(20, 1), where && bytes(40, filters(where)));
}

export function countReply(reply: Buffer): number {
  const single = decoded(reply).message(2);
  if (!single)
    throw new ConnectorError('backend_error', 'the backend answered an aggregation without a result');
  return single.number(1);
}

/** Whether the service takes calls. */
export function healthReply(reply: Buffer): boolean {
  return decoded(reply).number(1) === 1;
}

function scoped({ collection, tenant }: Scope, tenantField: number): readonly Uint8Array[] {
  return [text(1, collection), ...(tenant === undefined ? [] : [text(tenantField, tenant)])];
}

function filters(where: Where): Uint8Array {
  const operator = count(1, OPERATORS[where.op]);
  if ('operands' in where)
    return message(operator, ...where.operands.map((operand) => bytes(3, filters(operand))));
  const target = bytes(20, text(1, where.property));
  const value =
    'values' in where
      ? bytes(9, message(...where.values.map((one) => text(1, one))))
      : double(7, where.value);
  return message(operator, value, target);
}
