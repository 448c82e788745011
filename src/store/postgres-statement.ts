import { createHash } from 'node:crypto';
import type { Connection, PoolClient, Submittable, types } from 'pg';
import { isOutdated } from './postgres-error.ts';

/** What a statement answers: its rows, and of one that writes how many it wrote. */
export type Answer = {
  readonly rows: readonly unknown[];
  readonly changed: bigint | undefined;
  /** What the server says that it did: `COMMIT`, `INSERT 0 1`. */
  readonly command: string;
};

/** What comes before a statement: the transaction that it is the first of, and the tenant whose it is. */
export type Before = { readonly begin: boolean; readonly tenant: string };

/** A statement; `isKept` where its text is one of few and comes again and again. */
export type Statement = {
  readonly sql: string;
  readonly parameters: readonly unknown[];
  readonly isKept?: boolean;
};
type TypeId = Parameters<typeof types.getTypeParser>[0];
type Field = { readonly name: string; readonly dataTypeID: TypeId };
type Column = { readonly name: string; readonly parse: ((text: string) => unknown) | undefined };

/** How the text of a value of this type is read; undefined where it is what it is. */
export type ParserOf = (typeId: TypeId) => ((text: string) => unknown) | undefined;

/** Texts that are kept compiled in each connection besides those that are told to be: such as come a second time. */
const MAX_OTHERS = 100;
/** Texts that are remembered to have come once. */
const MAX_ONCE = 200;
const BEGIN = { name: 'app.begin', text: 'begin' };
const SETTING = { name: 'app.tenant', text: "select set_config('app.tenant', $1, true)" };

/** The names of texts that are kept compiled, in all connections alike. */
const names = new Map<string, string>();
const once = new Set<string>();
let others = 0;
/** What is compiled in a connection, and the columns of what it answers. */
const compiled = new WeakMap<Connection, Map<string, readonly Column[]>>();

/**
 * Runs one statement, in one round trip.
 *
 * What comes before it goes out with it: the setting and the statement are one transaction, which ends with the
 * statement unless it is begun here or was before. Where the setting fails, the server skips the statement.
 */
export function run(
  client: PoolClient,
  statement: Statement,
  parserOf: ParserOf,
  before?: Before,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    client.query(new Submitted(statement, parserOf, before, resolve, reject));
  });
}

/**
 * A query of a class of our own, as `pg` takes it from its add-ons pg-cursor and pg-query-stream: it sends what it wants
 * to, and the client hands it every message until the server is ready again.
 *
 * Why not the queries of `pg`: it waits for the answer to each before it sends the next, and has the columns described
 * anew each time. Its pipelines need a transaction of three statements for what two are here.
 */
class Submitted implements Submittable {
  readonly #statement: Statement;
  readonly #parserOf: ParserOf;
  readonly #before: Before | undefined;
  readonly #name: string;
  /** Answers of what comes before that are still to come. */
  #skip: number;
  #columns: readonly Column[] | undefined;
  #rows: unknown[] = [];
  #command = '';
  #failure: Error | undefined;
  /** `pg` calls and replaces it where the answer takes too long. */
  callback: (error: Error | null, answer?: Answer) => void;

  constructor(
    statement: Statement,
    parserOf: ParserOf,
    before: Before | undefined,
    resolve: (answer: Answer) => void,
    reject: (error: Error) => void,
  ) {
    this.#statement = statement;
    this.#parserOf = parserOf;
    this.#before = before;
    this.#skip = before ? (before.begin ? 2 : 1) : 0;
    this.#name = nameOf(statement);
    this.callback = (error, answer) =>
      error || !answer ? reject(error ?? new Error('no answer')) : resolve(answer);
  }

  /** What `pg` gets back instead of nothing it takes for an error that came before anything was sent. */
  submit(connection: Connection): Error | null {
    const wire = connection as unknown as Wire;
    let values: readonly (string | null)[];
    try {
      values = this.#statement.parameters.map(written);
    } catch (error) {
      return error as Error;
    }
    const known = knownOf(connection);
    wire.stream.cork();
    try {
      if (this.#before?.begin) send(wire, known, BEGIN, []);
      if (this.#before) send(wire, known, SETTING, [this.#before.tenant]);
      const name = this.#name;
      this.#columns = known.get(name);
      if (!this.#columns) parse(wire, { name, text: this.#statement.sql });
      wire.bind({ statement: name, values });
      if (!this.#columns) wire.describe({ type: 'P', name: '' });
      wire.execute({ portal: '', rows: 0 });
      wire.sync();
    } finally {
      wire.stream.uncork();
    }
    return null;
  }

  handleRowDescription({ fields }: { readonly fields: readonly Field[] }): void {
    this.#columns = fields.map(({ name, dataTypeID }) => ({ name, parse: this.#parserOf(dataTypeID) }));
  }

  handleDataRow({ fields }: { readonly fields: readonly (string | null)[] }): void {
    if (this.#skip > 0 || this.#failure) return;
    try {
      this.#rows.push(rowOf(this.#columns ?? [], fields));
    } catch (error) {
      this.#failure = error as Error;
    }
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    if (this.#skip > 0) this.#skip -= 1;
    else this.#command = text;
  }

  handleReadyForQuery(connection: Connection): void {
    const known = knownOf(connection);
    if (this.#before?.begin) known.set(BEGIN.name, []);
    if (this.#before) known.set(SETTING.name, []);
    // Of statements without rows the server describes none.
    if (this.#name !== '') known.set(this.#name, this.#columns ?? []);
    if (this.#failure) this.callback(this.#failure);
    else this.callback(null, { rows: this.#rows, changed: changedBy(this.#command), command: this.#command });
  }

  handleError(error: Error, connection: Connection): void {
    if (isOutdated(error)) compiled.delete(connection);
    this.callback(error);
  }

  // Statements of the store have texts, no limits of rows, and copy nothing.
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
  handleCopyInResponse(connection: Connection): void {
    (connection as unknown as Wire).sendCopyFail('nothing to copy');
  }
  handleCopyData(): void {}
}

function changedBy(command: string): bigint | undefined {
  if (!/^(INSERT|UPDATE|DELETE)/.test(command)) return undefined;
  return BigInt(command.slice(command.lastIndexOf(' ') + 1));
}

/** Sends what answers nothing that is of use. */
function send(wire: Wire, known: ReadonlyMap<string, unknown>, part: Named, values: readonly string[]): void {
  if (!known.has(part.name)) parse(wire, part);
  wire.bind({ statement: part.name, values });
  wire.execute({ portal: '', rows: 0 });
}

function parse(wire: Wire, part: Named): void {
  // The one before it may have failed after it was compiled. Closing what is not there is no error.
  if (part.name !== '') wire.close({ type: 'S', name: part.name });
  wire.parse(part);
}

function knownOf(connection: Connection): Map<string, readonly Column[]> {
  let known = compiled.get(connection);
  if (!known) compiled.set(connection, (known = new Map<string, readonly Column[]>()));
  return known;
}

/** The name of a text that is kept compiled; an empty one where it is not, as lists of values of many lengths. */
function nameOf({ sql, isKept }: Statement): string {
  const known = names.get(sql);
  if (known !== undefined) return known;
  if (isKept !== true) {
    if (once.size >= MAX_ONCE) once.clear();
    if (!once.has(sql) || others >= MAX_OTHERS) {
      once.add(sql);
      return '';
    }
    others += 1;
  }
  // By what it is: behind a pooler that hands connections around, no process runs what another one gave a number to.
  const name = `s${createHash('sha256').update(sql).digest('base64url').slice(0, 20)}`;
  names.set(sql, name);
  return name;
}

function rowOf(columns: readonly Column[], texts: readonly (string | null)[]): unknown {
  const row: Record<string, unknown> = {};
  for (let at = 0; at < columns.length; at++) {
    const text = texts[at] ?? null;
    const column = columns[at];
    if (column) row[column.name] = text !== null && column.parse ? column.parse(text) : text;
  }
  return row;
}

/** A parameter as the server reads it. */
function written(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean')
    return String(value);
  if (Array.isArray(value)) return `{${value.map(quoted).join()}}`;
  throw new TypeError(`the store writes no ${typeof value} into PostgreSQL`);
}

function quoted(value: unknown): string {
  const text = written(value);
  return text === null ? 'null' : `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}

type Named = { readonly name: string; readonly text: string };

/** The part of a connection of `pg` that its add-ons use. */
type Wire = {
  readonly stream: { cork(): void; uncork(): void };
  parse(statement: Named): void;
  close(what: { readonly type: 'S'; readonly name: string }): void;
  bind(values: { readonly statement: string; readonly values: readonly (string | null)[] }): void;
  describe(what: { readonly type: 'P'; readonly name: '' }): void;
  execute(portal: { readonly portal: string; readonly rows: number }): void;
  sync(): void;
  sendCopyFail(message: string): void;
};
