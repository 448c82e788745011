import {
  ConnectorError,
  invalidField,
  isConnectorError,
  loadPeer,
  nearer,
  reach,
  type ClientMatch,
  type ClientQuery,
  type DeleteSelector,
  type Filter,
  type ListPage,
  type Metadata,
  type Note,
  type StoredVector,
  type UpsertError,
  type VectorClient,
  type VectorOpenContext,
  type VectorPage,
} from '../../../driver.ts';
import { vectorOf } from './binary.ts';
import { serverOf, type PgvectorOptions } from './options.ts';
import { openPool, type Answer, type Pool, type Session } from './pool.ts';
import { rescored } from './rescore.ts';
import {
  COLUMN,
  conditions,
  deleteStatement,
  rawScoreOf,
  searchStatement,
  type SearchPlan,
} from './statements.ts';
import {
  findTable,
  MAX_INDEXED_DIMENSION,
  missing,
  qualified,
  withExtension,
  withTable,
  type Facts,
  type Found,
} from './table.ts';
import { storable, upsertBatches, writeBatches } from './write.ts';

export const PEER_RANGE = '^8.16.0';

/** An index is asked for more by its own limit of 1,000 candidates; above, every row is looked at. */
const MAX_INDEXED = 1_000;
/** More matches that are asked for where those at the cut are equally near. */
const MORE_TIES = 1_000;
/** Rows that a filtered search by the index looks at before it gives up, and every row is looked at instead. */
const MAX_SCAN_TUPLES = 20_000;

type Row = Answer['rows'][number];

/**
 * A table of vectors.
 *
 * @throws ConnectorError `egress_denied`, `unavailable`, `timeout`, `auth_failed`, `not_found` for the database;
 *   `permission_denied`, `unsupported` or `invalid_state`, as the server, the extension and the table are.
 */
export async function openPgvector(
  options: PgvectorOptions,
  context: VectorOpenContext,
): Promise<VectorClient> {
  const { default: pg } = await loadPeer('pg', PEER_RANGE, () => import('pg'));
  const { host, port } = serverOf(options);
  const { signal, network, dimension, metric } = context;
  const table = options.table ?? `connector_${context.connectorId.replaceAll(/[^A-Za-z0-9]/g, '')}`;
  // Without `tls`: the protocol agrees on it after the connection is made.
  await reach(context, { host, port });
  const pool = openPool(pg, options, network);
  try {
    // The server lets the role in.
    await context.stage('credentials', () => pool.use(signal, async () => {}));
    const { facts, found } = await context.stage('collection', async () => {
      const known = await pool.use(signal, (session) => withExtension(session));
      prepare(pool, options, known);
      return {
        facts: known,
        found: await pool.use(signal, (session) => withTable(session, options, table, { dimension, metric })),
      };
    });
    return tableClient({ pool, options, facts, found, table, context });
  } catch (error) {
    await pool.close();
    throw error;
  }
}

/** Has each connection find the extension's operators, and the index go on until there are enough matches. */
function prepare(pool: Pool, { hnsw }: PgvectorOptions, { home, isIterative }: Facts): void {
  const settings = [
    ['hnsw.ef_search', String(hnsw.ef_search)],
    ...(isIterative
      ? [
          ['hnsw.iterative_scan', 'relaxed_order'],
          ['hnsw.max_scan_tuples', String(MAX_SCAN_TUPLES)],
        ]
      : []),
  ] as const;
  const script = [
    `SET search_path = "${home.replaceAll('"', '""')}"`,
    // Loads the extension into the connection; before, the server would take any value for its settings.
    `SELECT '[0]'::vector`,
    ...settings.map(([name, value]) => `SET ${name} = '${value}'`),
    `SELECT ${settings.map(([name]) => `current_setting('${name}')`).join(', ')}`,
  ].join('; ');
  pool.prepareWith(script, ([row = []]) => {
    for (const [i, [name, value]] of settings.entries())
      if (row[i] !== value)
        throw new ConnectorError('backend_error', `${name} is ${row[i]} and could not be set to ${value}`);
  });
}

type Parts = {
  readonly pool: Pool;
  readonly options: PgvectorOptions;
  readonly facts: Facts;
  readonly found: Found;
  readonly table: string;
  readonly context: VectorOpenContext;
};

function tableClient({ pool, options, facts, found, table, context }: Parts): VectorClient {
  const { dimension, metric } = context;
  const { schema, hnsw } = options;
  const name = qualified(schema, table);
  const exactBytes = options.exact_max_mb * 1_000_000;

  /** Runs a call; a table that is gone is named, whichever statement noticed. */
  const use = async <T>(signal: AbortSignal, task: (session: Session) => Promise<T>): Promise<T> => {
    try {
      return await pool.use(signal, task);
    } catch (error) {
      if (isConnectorError(error) && error.details['backend_code'] === '42P01')
        throw missing(schema, table, error.cause);
      throw error;
    }
  };

  /** The rows of a search by the index, with as many candidates as it is asked for. */
  const byIndex = (session: Session, statement: ReturnType<typeof searchStatement>, limit: number) => {
    if (limit <= hnsw.ef_search) return session.run(statement);
    return session.transaction(async () => {
      await session.run({ text: `SET LOCAL hnsw.ef_search = ${Math.min(limit, MAX_INDEXED)}` });
      return session.run(statement);
    });
  };

  const search = async (
    session: Session,
    vector: readonly number[] | Float32Array,
    { topK, ...query }: ClientQuery,
  ): Promise<readonly Row[]> => {
    const plan = (bytes: number, limit: number): SearchPlan => ({
      table: name,
      metric,
      exactBytes: bytes,
      limit,
    });
    const exact = async () => (await session.run(searchStatement(plan(Infinity, topK), vector, query))).rows;
    const isIndexed =
      found.hasIndex && topK < MAX_INDEXED && (query.filter === undefined || facts.isIterative);
    if (!isIndexed) return exact();
    // One more than asked for tells whether those at the cut are equally near.
    const first = await byIndex(
      session,
      searchStatement(plan(exactBytes, topK + 1), vector, query),
      topK + 1,
    );
    if (first.rows[0]?.[COLUMN.isIndexed] === 'f') return first.rows;
    // Too few: the index gave up, or does not reach all rows, or there are no more.
    if (first.rows.length < topK) return exact();
    if (!isTied(first.rows, topK, topK)) return first.rows;
    const limit = topK + MORE_TIES;
    const more = await byIndex(session, searchStatement(plan(0, limit), vector, query), limit);
    return isTied(more.rows, topK, more.rows.length - 1) ? exact() : more.rows;
  };

  return {
    async upsert(records, signal): Promise<readonly UpsertError[]> {
      const { good, refused } = storable(records);
      const batches = upsertBatches(good, facts.vectorOid);
      await use(signal, (session) => writeBatches(session, name, batches));
      return refused;
    },

    async search(vector, query, signal): Promise<readonly ClientMatch[]> {
      return use(signal, async (session) => {
        const rows = await search(session, vector, query);
        const matches = rows
          .map((row) => matchOf(row, metric))
          .sort(nearer(metric))
          .slice(0, query.topK);
        return rescored({ session, table: name, metric, vector }, matches, rows);
      });
    },

    async delete(selector: DeleteSelector, signal): Promise<number> {
      return use(signal, async (session) => {
        if ('all' in selector) return deleteAll(session, name);
        const statement =
          'filter' in selector
            ? deleteStatement(name, conditions(selector.filter))
            : deleteStatement(
                name,
                { condition: 'id = ANY ($1::text[])', values: [selector.ids.filter(isStorableId)] },
                'delete',
              );
        return (await session.run(statement)).count;
      });
    },

    async fetch(ids, signal): Promise<readonly StoredVector[]> {
      const text = `SELECT id, text, metadata, vector_send(embedding) FROM ${name} WHERE id = ANY ($1::text[])`;
      const { rows } = await use(signal, (session) =>
        session.run({ name: 'fetch', text, values: [ids.filter(isStorableId)] }),
      );
      const byId = new Map(rows.map((row) => [row[0], row]));
      return ids.flatMap((id) => {
        const row = byId.get(id);
        return row ? [{ id, values: vectorOf(row[3] ?? ''), ...fieldsOf(row[1], row[2]) }] : [];
      });
    },

    async count(filter: Filter | undefined, signal): Promise<number> {
      const { condition, values } = conditions(filter);
      const text = `SELECT count(*) FROM ${name} WHERE ${condition}`;
      return Number((await use(signal, (session) => session.run({ text, values }))).rows[0]?.[0]);
    },

    async list({ limit, cursor, includeValues }: ListPage, signal): Promise<VectorPage> {
      const after = cursor === undefined ? '' : idOf(cursor);
      const columns = includeValues ? 'id, text, metadata, vector_send(embedding)' : 'id, text, metadata';
      const text = `SELECT ${columns} FROM ${name} WHERE id > $1 ORDER BY id LIMIT $2`;
      const { rows } = await use(signal, (session) => session.run({ text, values: [after, limit + 1] }));
      const page = rows.slice(0, limit);
      const last = page.at(-1)?.[0];
      return {
        records: page.map(([id, note, metadata, values]) => ({
          id: id ?? '',
          ...(includeValues && { values: vectorOf(values ?? '') }),
          ...fieldsOf(note, metadata),
        })),
        ...(rows.length > limit && last && { nextCursor: cursorOf(last) }),
      };
    },

    async check(signal): Promise<readonly Note[]> {
      return use(signal, async (session) => {
        const now = await findTable(session, schema, table, { dimension, metric });
        if (!now) throw missing(schema, table);
        return notesOf(facts, now, dimension);
      });
    },

    close: () => pool.close(),
  };
}

/** Counts and empties while nobody else writes. TRUNCATE, because an index keeps the place of each row that is deleted. */
async function deleteAll(session: Session, name: string): Promise<number> {
  return session.transaction(async () => {
    await session.run({ text: `LOCK TABLE ${name} IN ACCESS EXCLUSIVE MODE` });
    const { rows } = await session.run({ text: `SELECT count(*) FROM ${name}` });
    await session.run({ text: `TRUNCATE ${name}` });
    return Number(rows[0]?.[0]);
  });
}

/** Whether the last of the first `count` rows is as near as the one at `place`, so that others may be, too. */
function isTied(rows: readonly Row[], count: number, place: number): boolean {
  const distances = rows.map((row) => Number(row[COLUMN.distance])).sort((a, b) => a - b);
  return distances[count - 1] === distances[place];
}

function matchOf(row: Row, metric: VectorOpenContext['metric']): ClientMatch {
  const values = row.at(-1);
  return {
    id: row[COLUMN.id] ?? '',
    rawScore: rawScoreOf(metric, Number(row[COLUMN.distance])),
    ...fieldsOf(row[COLUMN.text], row[COLUMN.metadata]),
    ...(values && { values: vectorOf(values) }),
  };
}

function fieldsOf(
  text: string | null | undefined,
  metadata: string | null | undefined,
): { readonly text?: string; readonly metadata?: Metadata } {
  return {
    ...(typeof text === 'string' && { text }),
    // jsonb is JSON by its type; that it is an object is what the connector checked before it was written.
    ...(typeof metadata === 'string' && { metadata: JSON.parse(metadata) as Metadata }),
  };
}

function isStorableId(id: string): boolean {
  return !id.includes('\0');
}

const CURSOR = 'id:';

function cursorOf(id: string): string {
  return Buffer.from(CURSOR + id).toString('base64url');
}

function idOf(cursor: string): string {
  const text = Buffer.from(cursor, 'base64url').toString();
  const id = text.slice(CURSOR.length);
  if (!text.startsWith(CURSOR) || id === '' || id.includes('\0') || cursorOf(id) !== cursor)
    throw invalidField('cursor', 'is what the page before answered');
  return id;
}

function notesOf({ server, extension, isIterative }: Facts, { hasIndex }: Found, dimension: number): Note[] {
  const notes: Note[] = [{ level: 'info', message: `PostgreSQL ${server} with pgvector ${extension}` }];
  const warn = (message: string): void => void notes.push({ level: 'warn', message });
  if (!isIterative)
    warn(
      `pgvector ${extension} filters after its index has searched, so searches with a filter look at every row; run: ALTER EXTENSION vector UPDATE`,
    );
  if (dimension > MAX_INDEXED_DIMENSION)
    warn(`an index takes at most ${MAX_INDEXED_DIMENSION} numbers, so every search looks at every row`);
  else if (!hasIndex) warn('the table has no HNSW index for the metric, so every search looks at every row');
  return notes;
}
