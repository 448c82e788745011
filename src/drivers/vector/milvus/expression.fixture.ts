/**
 * Milvus' boolean expressions as far as the driver uses them, with the meaning of
 * https://milvus.io/docs/boolean.md, basic-operators.md, array-operators.md and filtering-templating.md
 * (read 2026-11-25).
 */

/** True, false, or unknown, as in SQL. */
export type Truth = boolean | null;
export type Fields = Readonly<Record<string, unknown>>;
export type Predicate = (row: Fields) => Truth;
/** What a template's placeholders stand for. */
export type Bound = Readonly<Record<string, string | readonly string[]>>;

/** The types of a collection's fields by name, such as `VarChar`. */
type Types = Readonly<Record<string, string>>;

/**
 * What a comparison says of a JSON key that is missing: unknown in newer servers, false in older ones
 * (https://github.com/milvus-io/milvus/issues/50699).
 */
export type Missing = 'unknown' | 'false';

const TOKEN =
  /\s*(?:(\{\w+\})|("(?:[^"\\]|\\.)*")|(AND|OR|NOT|IN|ARRAY_CONTAINS_ANY|ARRAY_CONTAINS)\b|([A-Za-z_]\w*)|(==|!=|>=|<=|[><()[\],]))/y;

/** @throws Error for what the grammar, the schema or the bound values do not allow. */
export function compileExpression(
  text: string,
  { bound, types, missing }: { readonly bound: Bound; readonly types: Types; readonly missing: Missing },
): Predicate {
  if (text === '') return () => true;
  const tokens = tokensOf(text);
  let at = 0;

  const take = (expected?: string): string => {
    const token = tokens[at++];
    if (token === undefined || (expected !== undefined && token !== expected))
      throw new Error(`cannot parse expression: ${text}, expected ${expected ?? 'more'} at token ${at}`);
    return token;
  };
  const value = (): string | readonly string[] => {
    const token = take();
    if (token.startsWith('"')) return JSON.parse(token) as string;
    const found = token.startsWith('{') ? bound[token.slice(1, -1)] : undefined;
    if (found === undefined) throw new Error(`no value for ${token} in ${text}`);
    // https://github.com/milvus-io/milvus/issues/51617
    if (Array.isArray(found) && found.length === 0) throw new Error(`the value of ${token} is an empty list`);
    return found;
  };
  const one = (): string => {
    const found = value();
    if (typeof found !== 'string') throw new Error('a list where one value is expected');
    return found;
  };
  const list = (): ReadonlySet<unknown> => {
    const found = value();
    if (typeof found === 'string') throw new Error('one value where a list is expected');
    return new Set(found);
  };
  const field = (type: string): string => {
    const name = take();
    if (types[name] !== type) throw new Error(`field ${name} is ${types[name] ?? 'unknown'}, not ${type}`);
    return name;
  };

  const contains = (): Predicate => {
    const any = take() === 'ARRAY_CONTAINS_ANY';
    take('(');
    const name = field('Array');
    take(',');
    const wanted = any ? list() : new Set<unknown>([one()]);
    take(')');
    return (row) => {
      const held = row[name];
      return Array.isArray(held) ? held.some((item) => wanted.has(item)) : null;
    };
  };

  const comparison = (): Predicate => {
    const name = take();
    let read: (row: Fields) => unknown = (row) => row[name];
    if (tokens[at] === '[') {
      if (types[name] !== 'JSON') throw new Error(`field ${name} is not JSON`);
      take('[');
      const key = JSON.parse(take()) as string;
      take(']');
      read = (row) => (row[name] as Fields | null)?.[key];
    } else if (types[name] !== 'VarChar') throw new Error(`field ${name} is not VarChar`);
    const operator = take();
    if (operator === 'IN') {
      const wanted = list();
      return (row) => wanted.has(read(row));
    }
    const operand = one();
    return (row) => {
      const found = read(row);
      if (typeof found !== 'string') return missing === 'unknown' ? null : operator === '!=';
      return compared(operator, Buffer.compare(Buffer.from(found), Buffer.from(operand)));
    };
  };

  const unary = (): Predicate => {
    if (tokens[at] === 'NOT') {
      take();
      // How tightly NOT binds is not documented, so it must say so itself.
      if (tokens[at] !== '(') throw new Error('NOT without parentheses');
      const inner = unary();
      return (row) => not(inner(row));
    }
    if (tokens[at] === '(') {
      take();
      const inner = disjunction();
      take(')');
      return inner;
    }
    return tokens[at]?.startsWith('ARRAY_') ? contains() : comparison();
  };
  const chain = (word: string, next: () => Predicate, stop: boolean): Predicate => {
    const parts = [next()];
    while (tokens[at] === word) {
      take();
      parts.push(next());
    }
    return (row) => {
      const truths = parts.map((part) => part(row));
      if (truths.includes(stop)) return stop;
      return truths.includes(null) ? null : !stop;
    };
  };
  const conjunction = (): Predicate => chain('AND', unary, false);
  const disjunction = (): Predicate => chain('OR', conjunction, true);

  const whole = disjunction();
  if (at !== tokens.length) throw new Error(`cannot parse expression: ${text}, unexpected ${tokens[at]}`);
  return whole;
}

function tokensOf(text: string): readonly string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const from = TOKEN.lastIndex;
    const found = TOKEN.exec(text);
    if (!found) throw new Error(`cannot parse expression: ${text}, at ${from}`);
    tokens.push(found[0].trim());
  }
  return tokens;
}

function not(truth: Truth): Truth {
  return truth === null ? null : !truth;
}

function compared(operator: string, order: number): boolean {
  switch (operator) {
    case '==':
      return order === 0;
    case '!=':
      return order !== 0;
    case '>':
      return order > 0;
    case '>=':
      return order >= 0;
    case '<':
      return order < 0;
    case '<=':
      return order <= 0;
    default:
      throw new Error(`unknown operator ${operator}`);
  }
}
