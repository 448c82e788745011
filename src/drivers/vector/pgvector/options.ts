import { z } from 'zod';
import { secret } from '../../../driver.ts';

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,56}$/;
const NAME_RULE = 'is a letter or _, then at most 56 letters, digits and _';

export const pgvectorOptions = z
  .strictObject({
    endpoint: z
      .url({ protocol: /^postgres(?:ql)?$/, error: 'is a URL such as postgres://user@host:5432/database' })
      .refine((url) => URL.parse(url)?.password === '', {
        error: 'holds a password; leave it out and put it into password, where it is kept encrypted',
        abort: true,
      })
      .refine((url) => URL.parse(url)?.search === '' && URL.parse(url)?.hash === '', {
        error: 'has no parameters; ssl, schema and the like are options of their own',
      })
      .optional()
      .describe(
        'Address of the server, as postgres://user@host:5432/database. Instead of host, port, database and user.',
      ),
    host: z
      .string()
      .min(1)
      .max(253)
      .optional()
      .describe('Name or address of the server, where there is no endpoint.'),
    port: z.int().min(1).max(65_535).optional().describe('TCP port of the server; 5432 unless told.'),
    database: z
      .string()
      .min(1)
      .max(63)
      .optional()
      .describe('Database; the one named like the user unless told.'),
    user: z.string().min(1).max(63).optional().describe('Role to log in as, where the endpoint names none.'),
    password: secret()
      .optional()
      .describe('Password of the role. Absent for servers that let the role in without one.'),
    ssl: z
      .enum(['verify-full', 'require', 'disable'])
      .default('verify-full')
      .describe(
        'verify-full: TLS with a certificate that is trusted and names the host. require: TLS with any certificate, which does not stop an attacker in between. disable: everything in clear, for the same machine or a trusted network.',
      ),
    ca: z
      .string()
      .min(1)
      .optional()
      .describe('Certificates in PEM that verify-full trusts instead of the well-known ones.'),
    schema: z
      .string()
      .regex(NAME, NAME_RULE)
      .default('public')
      .describe('Schema of the table; made if it does not exist and the role may.'),
    table: z
      .string()
      .regex(NAME, NAME_RULE)
      .optional()
      .describe(
        'Table of the vectors; connector_ and the id of the connector unless told. Connectors that name the same table share its records.',
      ),
    hnsw: z
      .strictObject({
        m: z
          .int()
          .min(2)
          .max(100)
          .default(16)
          .describe('Connections per node when the table is made: more find more, and cost memory and time.'),
        ef_construction: z
          .int()
          .min(4)
          .max(1000)
          .default(64)
          .describe('Candidates looked at when a row is indexed; at least twice m.'),
        ef_search: z
          .int()
          .min(1)
          .max(1000)
          .default(100)
          .describe('Candidates looked at by a search; raised by itself where more matches are asked for.'),
      })
      .refine(({ m, ef_construction }) => ef_construction >= 2 * m, {
        error: 'is at least twice m',
        path: ['ef_construction'],
      })
      .prefault({})
      .describe(
        'The approximate index. m and ef_construction are those of its creation and do not change it later.',
      ),
    exact_max_mb: z
      .number()
      .min(0)
      .max(1024)
      .default(2)
      .describe(
        'Megabytes on disk up to which a table is searched exactly, row by row, instead of by its index.',
      ),
    pool_size: z.int().min(1).max(5).default(5).describe('Connections at once, at most.'),
    statement_timeout_seconds: z
      .number()
      .min(1)
      .max(86_400)
      .default(300)
      .describe(
        'Seconds after which the server ends a statement by itself. A bound for what nobody waits for: the time of a call is timeout_seconds.',
      ),
  })
  .superRefine(({ endpoint, host, port, database, user }, context) => {
    const issue = (path: string, message: string) =>
      context.addIssue({ code: 'custom', path: [path], message });
    if (endpoint === undefined) {
      if (host === undefined) issue('host', 'is missing; name the server by endpoint or by host');
      if (user === undefined) issue('user', 'is missing');
      return;
    }
    const url = URL.parse(endpoint);
    const both = 'is given twice; the endpoint names it as well';
    if (host !== undefined) issue('host', both);
    if (port !== undefined) issue('port', both);
    if (database !== undefined && url !== null && url.pathname.length > 1) issue('database', both);
    if (user !== undefined && url?.username) issue('user', both);
    if (user === undefined && !url?.username) issue('user', 'is missing; name it here or in the endpoint');
  });
export type PgvectorOptions = z.output<typeof pgvectorOptions>;

/** The server and the role, whichever way they were given. */
export type Server = {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
};

export function serverOf(options: PgvectorOptions): Server {
  const url = options.endpoint === undefined ? undefined : new URL(options.endpoint);
  const user = options.user ?? decodeURIComponent(url?.username ?? '');
  return {
    // Sockets take an IPv6 address without the brackets that a URL needs.
    host: options.host ?? (url?.hostname ?? '').replace(/^\[(.*)\]$/, '$1'),
    port: options.port ?? (Number(url?.port) || 5432),
    database: options.database ?? (decodeURIComponent(url?.pathname.slice(1) ?? '') || user),
    user,
  };
}
