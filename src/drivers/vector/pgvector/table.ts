import { ConnectorError, type DistanceMetric } from '../../../driver.ts';
import { isDatabaseError } from './failure.ts';
import type { PgvectorOptions } from './options.ts';
import type { Session } from './pool.ts';

/** What the table must hold. */
export type Shape = { readonly dimension: number; readonly metric: DistanceMetric };

/** The server and its extension, as far as they matter here. */
export type Facts = {
  readonly server: string;
  readonly extension: string;
  /** Schema of the extension, whose types and operators are meant. */
  readonly home: string;
  /** Identifier of the type `vector`, which binary arrays of it begin with. */
  readonly vectorOid: number;
  /** Whether the index goes on where a filter leaves too few: since pgvector 0.8.0. */
  readonly isIterative: boolean;
};

/** A table as the catalogue has it. */
export type Found = { readonly hasIndex: boolean };

const OPERATOR_CLASSES = {
  cosine: 'vector_cosine_ops',
  euclidean: 'vector_l2_ops',
  dot: 'vector_ip_ops',
} as const satisfies Record<DistanceMetric, string>;

/** The most that an HNSW index takes. https://github.com/pgvector/pgvector#hnsw (read 2026-11-25) */
export const MAX_INDEXED_DIMENSION = 2_000;

/** One lock for everything that is made, because an extension that two make at once fails for one of them. */
const LOCK = 7_202_611_250_915;

/** The name with its schema, quoted. */
export function qualified(schema: string, table: string): string {
  return `${identifier(schema)}.${identifier(table)}`;
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/**
 * The server's and the extension's versions, `undefined` for a database that has no extension yet.
 *
 * @throws ConnectorError `invalid_state` where its text is not UTF-8, `unsupported` for a pgvector before 0.5.0.
 */
async function factsOf(session: Session): Promise<Facts | undefined> {
  const { rows } = await session.run({
    text: `SELECT current_setting('server_version'), current_setting('server_encoding'), e.extversion, n.nspname, t.oid
      FROM (SELECT) AS one LEFT JOIN pg_extension e ON e.extname = 'vector'
      LEFT JOIN pg_namespace n ON n.oid = e.extnamespace
      LEFT JOIN pg_type t ON t.typname = 'vector' AND t.typnamespace = n.oid`,
  });
  const [server, encoding, extension, home, oid] = rows[0] ?? [];
  if (!server || !encoding) throw new ConnectorError('backend_error', 'the server did not tell its version');
  if (encoding !== 'UTF8')
    throw new ConnectorError(
      'invalid_state',
      `the database stores text as ${encoding}; make one with ENCODING 'UTF8'`,
    );
  if (!extension || !home || !oid) return undefined;
  if (isBefore(extension, 0, 5))
    throw new ConnectorError(
      'unsupported',
      `pgvector is ${extension}; 0.5.0 is the first with an HNSW index. Run: ALTER EXTENSION vector UPDATE`,
    );
  const isIterative = !isBefore(extension, 0, 8);
  return { server, extension, home, vectorOid: Number(oid), isIterative };
}

function isBefore(version: string, major: number, minor: number): boolean {
  const [a = 0, b = 0] = version.split('.').map(Number);
  return a < major || (a === major && b < minor);
}

/**
 * The facts, with the extension made where it is missing.
 *
 * @throws ConnectorError `permission_denied` or `unsupported`, saying who can help.
 */
export async function withExtension(session: Session): Promise<Facts> {
  const before = await factsOf(session);
  if (before) return before;
  await explained(
    session.transaction(async () => {
      await session.run({ text: `SELECT pg_advisory_xact_lock(${LOCK})` });
      await session.run({ text: 'CREATE EXTENSION IF NOT EXISTS vector' });
    }),
    {
      '42501':
        'the extension is not in this database, and the role may not make it; have an administrator run: CREATE EXTENSION vector',
    },
    // The server has no files of the extension.
    { '0A000': 'the server has no pgvector installed', '58P01': 'the server has no pgvector installed' },
  );
  const after = await factsOf(session);
  if (!after) throw new ConnectorError('backend_error', 'the extension was made and is not there');
  return after;
}

/** The table, checked; made with its index where it does not exist. */
export async function withTable(
  session: Session,
  { schema, hnsw }: PgvectorOptions,
  table: string,
  shape: Shape,
): Promise<Found> {
  const before = await findTable(session, schema, table, shape);
  if (before) return before;
  const { dimension, metric } = shape;
  const name = qualified(schema, table);
  const comment = JSON.stringify({ connector_registry: { dimension, metric } });
  await explained(
    session.transaction(async () => {
      await session.run({ text: `SELECT pg_advisory_xact_lock(${LOCK})` });
      // Somebody else may have made it while this one waited for the lock.
      if (await findTable(session, schema, table, shape)) return;
      const schemas = await session.run({
        text: 'SELECT 1 FROM pg_namespace WHERE nspname = $1',
        values: [schema],
      });
      if (schemas.count === 0) await session.run({ text: `CREATE SCHEMA ${identifier(schema)}` });
      await session.run({
        text: `CREATE TABLE ${name} (id text COLLATE "C" PRIMARY KEY, embedding vector(${dimension}) NOT NULL, metadata jsonb, text text)`,
      });
      if (dimension <= MAX_INDEXED_DIMENSION)
        await session.run({
          text: `CREATE INDEX ${identifier(`${table}_hnsw`)} ON ${name} USING hnsw (embedding ${OPERATOR_CLASSES[metric]}) WITH (m = ${hnsw.m}, ef_construction = ${hnsw.ef_construction})`,
        });
      await session.run({ text: `COMMENT ON TABLE ${name} IS '${comment}'` });
    }),
    {
      '42501': `the role may not make ${schema}.${table}; grant it CREATE on the schema, or name another schema`,
    },
  );
  const after = await findTable(session, schema, table, shape);
  if (!after) throw missing(schema, table);
  return after;
}

/**
 * The table as the catalogue has it, `undefined` where there is none.
 *
 * @throws ConnectorError `invalid_state` where it is not one of this driver's, or has another dimension or metric.
 */
export async function findTable(
  session: Session,
  schema: string,
  table: string,
  { dimension, metric }: Shape,
): Promise<Found | undefined> {
  const { rows } = await session.run({
    text: `SELECT obj_description(c.oid, 'pg_class'),
        (SELECT a.atttypmod FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
          WHERE a.attrelid = c.oid AND a.attname = 'embedding' AND t.typname = 'vector'),
        (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, NULL), ', ' ORDER BY a.attname) FROM pg_attribute a
          WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attname IN ('id', 'metadata', 'text')),
        (SELECT o.opcname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
          JOIN pg_opclass o ON o.oid = i.indclass[0]
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
          WHERE i.indrelid = c.oid AND m.amname = 'hnsw' AND i.indisvalid AND i.indpred IS NULL
            AND a.attname = 'embedding' ORDER BY o.opcname = $3 DESC LIMIT 1)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')`,
    values: [schema, table, OPERATOR_CLASSES[metric]],
  });
  const [row] = rows;
  if (!row) return undefined;
  const [comment, storedDimension, columns, operatorClass] = row;
  if (!storedDimension || columns !== 'id text, metadata jsonb, text text')
    throw new ConnectorError(
      'invalid_state',
      `${schema}.${table} is not a table that this driver made; name another one`,
    );
  const storedMetric = metricOf(comment) ?? METRICS.find((one) => OPERATOR_CLASSES[one] === operatorClass);
  const stored = { dimension: Number(storedDimension), metric: storedMetric ?? metric };
  if (stored.dimension !== dimension || stored.metric !== metric)
    throw new ConnectorError(
      'invalid_state',
      `${schema}.${table} holds vectors of ${stored.dimension} numbers by ${stored.metric}, not of ${dimension} by ${metric}; set the connector to these or name another table`,
      { details: { stored, expected: { dimension, metric } } },
    );
  return { hasIndex: operatorClass === OPERATOR_CLASSES[metric] };
}

const METRICS = Object.keys(OPERATOR_CLASSES) as readonly DistanceMetric[];

/** The metric that the table was made for; a comment that somebody wrote over it says nothing. */
function metricOf(comment: string | null | undefined): DistanceMetric | undefined {
  try {
    const { connector_registry: shape } = JSON.parse(comment ?? '{}') as {
      readonly connector_registry?: { readonly metric?: unknown };
    };
    return METRICS.find((metric) => metric === shape?.metric);
  } catch {
    return undefined;
  }
}

export function missing(schema: string, table: string, cause?: unknown): ConnectorError {
  return new ConnectorError(
    'not_found',
    `the table ${schema}.${table} is gone; connect anew to make an empty one`,
    { details: { schema, table }, ...(cause !== undefined && { cause }) },
  );
}

/** The same task, with words of ours for the codes of the server that a person can do something about. */
async function explained<T>(
  task: Promise<T>,
  denied: Readonly<Record<string, string>>,
  unsupported: Readonly<Record<string, string>> = {},
): Promise<T> {
  try {
    return await task;
  } catch (error) {
    if (!isDatabaseError(error)) throw error;
    const words = denied[error.code] ?? unsupported[error.code];
    if (words === undefined) throw error;
    const code = error.code in denied ? 'permission_denied' : 'unsupported';
    throw new ConnectorError(code, words, { cause: error, details: { backend_code: error.code } });
  }
}
