/** The part of JSON Schema that the options of drivers are made of. */
type Schema = {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
  readonly default?: unknown;
  readonly description?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly secret?: boolean;
  readonly adminOnly?: boolean;
};

/** One row for each option: its dotted name, type, default, who may set it, and its description. */
export function optionRows(schema: object): readonly (readonly string[])[] {
  return rows(schema, '');
}

function rows(schema: Schema, path: string): readonly (readonly string[])[] {
  return Object.entries(schema.properties ?? {}).flatMap(([key, option]) => {
    const name = `${path}${key}`;
    if (option.properties !== undefined) return rows(option, `${name}.`);
    const { additionalProperties: values } = option;
    // Each value of a record of secrets is a credential of its own.
    if (typeof values === 'object' && values.secret) {
      return [[`\`${name}.*\``, typeOf(values), '', 'a credential', option.description ?? '']];
    }
    const fallback =
      option.default === undefined ? (isRequired(schema, key) ? 'required' : '') : code(option.default);
    const who = option.secret ? 'a credential' : option.adminOnly ? 'administrators' : 'anyone';
    return [[`\`${name}\``, typeOf(option), fallback, who, option.description ?? '']];
  });
}

function isRequired(schema: Schema, key: string): boolean {
  return schema.required?.includes(key) === true;
}

function typeOf(option: Schema): string {
  const { minimum, maximum } = option;
  if (option.enum !== undefined) return option.enum.map(code).join(' or ');
  if (option.const !== undefined) return code(option.const);
  const branches = option.anyOf ?? option.oneOf;
  if (branches !== undefined) return branches.map(typeOf).join(' or ');
  if (option.items !== undefined) return `list of ${typeOf(option.items)}`;
  if (typeof option.additionalProperties === 'object')
    return `names to ${typeOf(option.additionalProperties)}`;
  const name = option.type ?? 'any';
  // zod states the range of safe integers for every integer; that is no limit that anybody set.
  const from = minimum !== undefined && minimum > Number.MIN_SAFE_INTEGER ? ` from ${minimum}` : '';
  const to = maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER ? ` to ${maximum}` : '';
  return `${name}${from}${to}`;
}

function code(value: unknown): string {
  return `\`${JSON.stringify(value)}\``;
}
