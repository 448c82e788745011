import {
  Filters_Operator as Operator,
  type Filters,
} from '../../../../node_modules/weaviate-client/dist/node/esm/proto/v1/base.js';

/**
 * What Weaviate does with what it is told, as its documentation says (read 2026-11-25):
 * https://docs.weaviate.io/weaviate/config-refs/collections, …/config-refs/distances, …/search/filters,
 * …/config-refs/datatypes, …/manage-collections/multi-tenancy, …/deploy/configuration/env-vars.
 */

export type Property = {
  name: string;
  dataType: string[];
  tokenization?: string;
  indexFilterable?: boolean;
  indexSearchable?: boolean;
  indexRangeFilters?: boolean;
};
export type ClassDefinition = {
  class: string;
  description?: string;
  vectorizer?: string;
  vectorIndexType?: string;
  vectorIndexConfig?: Record<string, unknown>;
  multiTenancyConfig?: { enabled?: boolean; autoTenantCreation?: boolean };
  replicationConfig?: { factor?: number };
  properties: Property[];
};
type Value = string | number | boolean | readonly string[] | readonly number[] | null;
export type StoredObject = {
  readonly uuid: string;
  readonly vector: Float32Array;
  readonly properties: Readonly<Record<string, Value>>;
};
export type Ranked = { readonly object: StoredObject; readonly distance: number };
type Shard = { status: string; readonly objects: Map<string, StoredObject> };
type Class = { readonly definition: ClassDefinition; readonly shards: Map<string, Shard> };

/** A refusal in Weaviate's own words; by REST its status, by gRPC the unknown one. */
export class Refusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const CLASS_NAME = /^[A-Z][_0-9A-Za-z]{0,254}$/;
const PROPERTY_NAME = /^[_A-Za-z][_0-9A-Za-z]{0,230}$/;
const TENANT_NAME = /^[A-Za-z0-9_-]{1,64}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export class WeaviateStore {
  readonly classes = new Map<string, Class>();
  /** QUERY_MAXIMUM_RESULTS */
  maxResults = 10_000;
  /** Why an object is refused by itself, for tests of that. */
  refuse: (properties: Readonly<Record<string, Value>>) => string | undefined = () => undefined;
  /** What AUTOSCHEMA_ENABLED, which is on unless told, made by itself. */
  readonly madeByAutoSchema: string[] = [];

  createClass(definition: ClassDefinition): ClassDefinition {
    const { class: name, properties = [] } = definition;
    if (!CLASS_NAME.test(name)) throw new Refusal(422, `'${name}' is not a valid class name`);
    if (this.classes.has(name)) throw new Refusal(422, `class name ${name} already exists`);
    const made = {
      ...definition,
      vectorIndexConfig: { distance: 'cosine', ...definition.vectorIndexConfig },
      multiTenancyConfig: { enabled: false, autoTenantCreation: false, ...definition.multiTenancyConfig },
      replicationConfig: { factor: 1, ...definition.replicationConfig },
      properties: [],
    };
    this.classes.set(name, { definition: made, shards: new Map() });
    for (const property of properties) this.addProperty(name, property);
    if (!made.multiTenancyConfig.enabled) this.shards(name).set('', { status: 'ACTIVE', objects: new Map() });
    return made;
  }

  addProperty(className: string, property: Property): Property {
    const { definition } = this.class(className);
    const { name, dataType } = property;
    const [type = ''] = dataType;
    const isText = type === 'text' || type === 'text[]';
    if (!PROPERTY_NAME.test(name)) throw new Refusal(422, `'${name}' is not a valid property name`);
    if (definition.properties.some((one) => one.name.toLowerCase() === name.toLowerCase()))
      throw new Refusal(
        422,
        `class "${className}": conflict for property "${name}": already in use or provided`,
      );
    if (property.tokenization !== undefined && !isText)
      throw new Refusal(422, `tokenization is not allowed for data type '${type}'`);
    if (property.indexSearchable === true && !isText)
      throw new Refusal(422, '`indexSearchable` is allowed only for text/text[] data types');
    if (property.indexRangeFilters === true && !['int', 'number', 'date'].includes(type))
      throw new Refusal(422, '`indexRangeFilters` is allowed only for number/int/date data types');
    const made = {
      indexFilterable: true,
      indexSearchable: isText,
      indexRangeFilters: false,
      ...(isText && { tokenization: 'word' }),
      ...property,
    };
    definition.properties.push(made);
    return made;
  }

  class(name: string): Class {
    const found = this.classes.get(name);
    if (!found) throw new Refusal(404, `could not find class ${name} in schema`);
    return found;
  }

  shards(name: string): Map<string, Shard> {
    return this.class(name).shards;
  }

  createTenants(className: string, names: readonly string[]): void {
    const { definition, shards } = this.class(className);
    if (!definition.multiTenancyConfig?.enabled)
      throw new Refusal(422, `multi-tenancy is not enabled for class "${className}"`);
    for (const name of names) {
      if (!TENANT_NAME.test(name)) throw new Refusal(422, `tenant name "${name}" is invalid`);
      if (shards.has(name)) throw new Refusal(422, `tenant ${name} already exists`);
      shards.set(name, { status: 'HOT', objects: new Map() });
    }
  }

  /** The objects of a class, or of its tenant. */
  shard(className: string, tenant: string): Shard {
    const { definition, shards } = this.class(className);
    if (definition.multiTenancyConfig?.enabled && tenant === '')
      throw new Refusal(422, `class ${className} has multi-tenancy enabled, but request was without tenant`);
    if (!definition.multiTenancyConfig?.enabled && tenant !== '')
      throw new Refusal(422, `class ${className} has multi-tenancy disabled, but request was with tenant`);
    const found = shards.get(tenant);
    if (!found) throw new Refusal(422, `tenant not found: "${tenant}"`);
    if (!['HOT', 'ACTIVE'].includes(found.status)) throw new Refusal(422, `tenant not active: '${tenant}'`);
    return found;
  }

  put(className: string, tenant: string, object: StoredObject): void {
    if (!UUID.test(object.uuid)) throw new Refusal(422, `invalid UUID length: ${object.uuid.length}`);
    if (!this.classes.has(className)) {
      this.createClass({ class: className, properties: [] });
      this.madeByAutoSchema.push(className);
    }
    const { definition } = this.class(className);
    const { objects } = this.shard(className, tenant);
    const refused = this.refuse(object.properties);
    if (refused !== undefined) throw new Refusal(422, refused);
    for (const [name, value] of Object.entries(object.properties)) this.#typed(className, name, value);
    const [other] = objects.values();
    if (other && other.vector.length !== object.vector.length)
      throw new Refusal(
        422,
        `new node has a vector with length ${object.vector.length}. Existing nodes have vectors with length ${other.vector.length}`,
      );
    const isCosine = definition.vectorIndexConfig?.['distance'] === 'cosine';
    // An object that is replaced is a new document: nothing of the old one stays.
    objects.delete(object.uuid);
    objects.set(object.uuid, isCosine ? { ...object, vector: normalised(object.vector) } : object);
  }

  #typed(className: string, name: string, value: Value): void {
    const { definition } = this.class(className);
    const known = definition.properties.find((one) => one.name === name);
    const type = Array.isArray(value) ? 'text[]' : typeof value === 'string' ? 'text' : typeof value;
    if (!known) {
      this.madeByAutoSchema.push(`${className}.${name}`);
      this.addProperty(className, { name, dataType: [type] });
    } else if (known.dataType[0] !== type) {
      throw new Refusal(422, `invalid ${known.dataType[0]} property '${name}' on class '${className}'`);
    }
  }

  /**
   * The objects that a filter lets through, nearest first. Among equally near ones the order is nobody's promise: here
   * those that were written last come first.
   */
  nearest(
    className: string,
    tenant: string,
    vector: Float32Array,
    filter: Filters | undefined,
  ): readonly Ranked[] {
    const distance = String(this.class(className).definition.vectorIndexConfig?.['distance']);
    const query = distance === 'cosine' ? normalised(vector) : vector;
    return this.matching(className, tenant, filter)
      .toReversed()
      .map((object) => {
        if (object.vector.length !== query.length)
          throw new Refusal(422, `vector lengths don't match: ${object.vector.length} vs ${query.length}`);
        return { object, distance: distances(distance, query, object.vector) };
      })
      .sort((a, b) => a.distance - b.distance);
  }

  matching(className: string, tenant: string, filter: Filters | undefined): readonly StoredObject[] {
    const objects = [...this.shard(className, tenant).objects.values()];
    if (!filter) return objects;
    const test = this.#compiled(className, filter);
    return objects.filter(test);
  }

  #compiled(className: string, filter: Filters): (object: StoredObject) => boolean {
    const { operator, filters, target } = filter;
    if (operator === Operator.OPERATOR_AND || operator === Operator.OPERATOR_OR) {
      if (filters.length === 0) throw new Refusal(422, 'nested query has no operands');
      const tests = filters.map((one) => this.#compiled(className, one));
      return operator === Operator.OPERATOR_AND
        ? (object) => tests.every((test) => test(object))
        : (object) => tests.some((test) => test(object));
    }
    const name = target?.property;
    if (name === undefined) throw new Refusal(422, 'filter without a target');
    if (name === '_id' || name === 'id') {
      const ids = new Set(filter.valueTextArray?.values);
      if (operator !== Operator.OPERATOR_CONTAINS_ANY || ids.size === 0)
        throw new Refusal(422, 'a filter by id that this double does not know');
      return ({ uuid }) => ids.has(uuid);
    }
    const property = this.class(className).definition.properties.find((one) => one.name === name);
    if (!property)
      throw new Refusal(422, `no such prop with name '${name}' found in class '${className}' in the schema`);
    return property.dataType[0] === 'number' ? ordered(property, filter) : contained(property, filter);
  }
}

function ordered(property: Property, filter: Filters): (object: StoredObject) => boolean {
  const { operator, valueNumber } = filter;
  if (property.indexFilterable === false && property.indexRangeFilters !== true) throw unindexed(property);
  if (valueNumber === undefined) throw new Refusal(422, 'data type filter cannot use another type of value');
  const compare = {
    [Operator.OPERATOR_GREATER_THAN]: (order: number) => order > 0,
    [Operator.OPERATOR_GREATER_THAN_EQUAL]: (order: number) => order >= 0,
    [Operator.OPERATOR_LESS_THAN]: (order: number) => order < 0,
    [Operator.OPERATOR_LESS_THAN_EQUAL]: (order: number) => order <= 0,
  }[operator as number];
  if (!compare) throw new Refusal(422, `unknown filter operator ${operator}`);
  return ({ properties }) => {
    const value = properties[property.name];
    return typeof value === 'number' && compare(orderOfBits(value, valueNumber));
  };
}

/** -0 below 0, as an index over the bits of numbers has it. */
function orderOfBits(a: number, b: number): number {
  return a === b ? Number(Object.is(b, -0)) - Number(Object.is(a, -0)) : a - b;
}

function contained(property: Property, filter: Filters): (object: StoredObject) => boolean {
  const { operator, valueTextArray } = filter;
  if (property.indexFilterable === false) throw unindexed(property);
  const { tokenization = 'word' } = property;
  const wanted = (valueTextArray?.values ?? []).map((value) => tokens(value, tokenization));
  if (wanted.length === 0) throw new Refusal(422, 'no values to compare with');
  if (![Operator.OPERATOR_CONTAINS_ANY, Operator.OPERATOR_CONTAINS_NONE].includes(operator))
    throw new Refusal(422, `unknown filter operator ${operator}`);
  const isAny = operator === Operator.OPERATOR_CONTAINS_ANY;
  return ({ properties }) => {
    const value = properties[property.name];
    const texts = Array.isArray(value) ? value : [value];
    const held = new Set(
      texts.flatMap((text) => (typeof text === 'string' ? tokens(text, tokenization) : [])),
    );
    return wanted.some((parts) => parts.every((part) => held.has(part))) === isAny;
  };
}

/** https://docs.weaviate.io/weaviate/config-refs/collections#tokenization: `field` trims and keeps the rest. */
function tokens(value: string, tokenization: string): readonly string[] {
  if (tokenization === 'field') return [value.trim()];
  return value.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}

function unindexed({ name }: Property): Refusal {
  return new Refusal(422, `Filtering by property '${name}' requires inverted index`);
}

function normalised(vector: Float32Array): Float32Array {
  const length = Math.hypot(...vector);
  return length === 0 ? vector : vector.map((value) => value / length);
}

/** In float32, as Weaviate computes them. */
function distances(name: string, a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (const [i, x] of a.entries()) {
    const y = b[i] ?? 0;
    sum = Math.fround(sum + (name === 'l2-squared' ? Math.fround((x - y) ** 2) : Math.fround(x * y)));
  }
  if (name === 'l2-squared') return sum;
  return name === 'dot' ? -sum : Math.fround(1 - sum);
}
