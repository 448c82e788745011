import { z } from 'zod';
import { parseWith } from '../contract/validate.ts';

const port = z.coerce.number().int().min(0).max(65_535);

/** Every environment variable that the command reads, with its default: the one place that names them. */
export const settings = z.object({
  CONNECTORS_DATA_DIR: z.string().min(1).default('./data').describe('Where everything is kept.'),
  CONNECTORS_DATABASE_URL: z
    .string()
    .min(1)
    .optional()
    .describe('A PostgreSQL database, postgres://…, instead of the one in the data directory.'),
  CONNECTORS_DATABASE_POOL: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_000)
    .default(10)
    .describe('Connections to that database at once, at most, besides one that listens.'),
  CONNECTORS_REDIS_URL: z
    .string()
    .min(1)
    .optional()
    .describe('A Redis, redis://… or rediss://…, in which servers count rate limits together.'),
  CONNECTORS_HOST: z.string().min(1).default('127.0.0.1').describe('The address that the server listens on.'),
  CONNECTORS_PORT: port.default(7420).describe('The port that the server listens on; 0 takes a free one.'),
  CONNECTORS_INSECURE_HTTP: z
    .stringbool()
    .default(false)
    .describe(
      'Whether the server may speak plain HTTP to other machines, where something in front of it encrypts.',
    ),
  CONNECTORS_PUBLIC_URL: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe(
      'Where callers reach the server, for addresses that it signs; the address it listens on unless told.',
    ),
  CONNECTORS_URL: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe('A running server that commands go to, instead of opening the data directory.'),
  CONNECTORS_API_KEY: z.string().min(1).optional().describe('The API key that commands send to that server.'),
  CONNECTORS_TENANT: z.string().min(1).optional().describe('The tenant that commands are about.'),
  CONNECTORS_STATE_DIR: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Where commands keep how far they were when they were interrupted; connectors in XDG_STATE_HOME unless told.',
    ),
  XDG_STATE_HOME: z
    .string()
    .min(1)
    .optional()
    .describe('The folder for state of the user; ~/.local/state unless told.'),
  CONNECTORS_LOG_LEVEL: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('What the server logs; `start` logs warnings and errors unless this says otherwise.'),
  CONNECTORS_EGRESS_ALLOW_PRIVATE: z
    .stringbool()
    .default(false)
    .describe('Whether connectors of tenants may reach private networks and this machine itself.'),
  CONNECTORS_EGRESS_ALLOW: z
    .string()
    .default('')
    .transform((list) => list.split(',').flatMap((cidr) => cidr.trim() || []))
    .describe('Addresses and ranges that they may reach besides public ones: 10.20.0.0/16,fd00:1::/64.'),
  CONNECTORS_EMBEDDED: z
    .stringbool()
    .default(true)
    .describe(
      'Whether connectors may be made and used that keep their data in the process or its data directory; false where servers come and go.',
    ),
  CONNECTORS_MAX_INVOCATIONS: z.coerce
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(64)
    .describe('Asynchronous invocations that run at once, at most, and half as many of one tenant.'),
  CONNECTORS_PROBE_SECONDS: z.coerce
    .number()
    .int()
    .min(0)
    .max(86_400)
    .default(60)
    .describe('Seconds between two health checks of a connector in the background; 0 checks none.'),
  CONNECTORS_RESULTS_CONNECTOR: z
    .string()
    .min(1)
    .optional()
    .describe(
      'The id of a file connector for results of over 256 KB, one that all servers reach; the data directory, or the shared database, unless told.',
    ),
  CONNECTORS_MASTER_KEY: z
    .string()
    .optional()
    .describe(
      'The master keys as 32 bytes in base64 or hex each, separated by commas, the current one first; instead of the file master.key in the data directory.',
    ),
});

/** The settings as the environment has them. */
export type Settings = z.output<typeof settings>;

/** The settings of an environment; an empty variable counts as absent. @throws ConnectorError `invalid_argument`. */
export function readSettings(env: Readonly<Record<string, string | undefined>>): Settings {
  const given = Object.keys(settings.shape).flatMap((name) => (env[name] ? [[name, env[name]]] : []));
  return parseWith(settings, Object.fromEntries(given));
}
