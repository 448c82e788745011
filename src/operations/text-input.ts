import { z } from 'zod';
import type { InputSchema, Operation } from './operation.ts';

type Property = { readonly type?: unknown };
type Properties = Readonly<Record<string, Property>>;
type Shape = { readonly properties?: Properties; readonly oneOf?: readonly Shape[] };

const known = new WeakMap<InputSchema, Properties>();

/**
 * Text fields, as a query string or a command line brings them, with the types that the operation's input declares.
 *
 * Only an exact spelling is read: `5` is a number and `true` a boolean where one is expected. Anything else stays
 * text, and the schema says what is wrong with it.
 */
export function readText(
  { input }: Pick<Operation, 'input'>,
  fields: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const properties = propertiesOf(input);
  const typed = Object.entries(fields).map(([name, value]) => {
    const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
    return [name, typeof value === 'string' && property ? readAs(property.type, value) : value];
  });
  return Object.fromEntries(typed);
}

function readAs(type: unknown, text: string): unknown {
  if ((type === 'integer' || type === 'number') && /^-?\d{1,15}(?:\.\d{1,15})?$/.test(text))
    return Number(text);
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}

function propertiesOf(input: InputSchema): Properties {
  let properties = known.get(input);
  if (!properties) {
    // The JSON Schema of an object, or of a choice of objects: nothing else is an `InputSchema`.
    const schema = z.toJSONSchema(input, { io: 'input', unrepresentable: 'any' }) as Shape;
    properties = Object.assign(
      {},
      schema.properties,
      ...(schema.oneOf ?? []).map((branch) => branch.properties),
    );
    known.set(input, properties as Properties);
  }
  return properties as Properties;
}
