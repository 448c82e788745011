import { z } from 'zod';
import { secret } from '../../../driver.ts';

export const milvusOptions = z
  .strictObject({
    endpoint: z
      .url({ protocol: /^https?$/ })
      .refine(
        (url) => !URL.canParse(url) || /^\/?$/.test(new URL(url).pathname + new URL(url).search),
        'has no path and no query',
      )
      .refine((url) => !URL.canParse(url) || new URL(url).username === '', 'holds no credentials')
      .describe('Address of the server with its port, as in http://milvus.internal:19530; https means TLS.'),
    token: secret()
      .optional()
      .describe('API key of Zilliz Cloud, or user:password. Instead of username and password.'),
    username: z
      .string()
      .min(1)
      .max(256)
      .optional()
      .describe('User of a server that has authentication switched on. Needs password.'),
    password: secret().optional().describe('Password of the user. Needs username.'),
    database: z
      .string()
      .regex(/^[A-Za-z_]\w{0,254}$/)
      .default('default')
      .describe('Database of the server that holds the collection. It must exist.'),
    collection: z
      .string()
      .regex(/^[A-Za-z_]\w{0,254}$/)
      .optional()
      .describe(
        'Name of the collection: letters, digits and underscores. Unless told, connector_ and the id of the connector, so that no two connectors share one.',
      ),
    index: z
      .enum(['autoindex', 'flat'])
      .default('autoindex')
      .describe(
        'Index of a collection that is made: autoindex is approximate and fast, flat compares with every vector and is exact. One that exists keeps its index.',
      ),
    ca: z
      .string()
      .startsWith('-----BEGIN CERTIFICATE-----')
      .max(65_536)
      .optional()
      .describe('Certificates in PEM that are trusted instead of the well-known ones.'),
  })
  .refine(({ username, password }) => (username === undefined) === (password === undefined), {
    path: ['password'],
    message: 'is given together with username',
  })
  .refine(({ token, username }) => token === undefined || username === undefined, {
    path: ['token'],
    message: 'is given instead of username and password',
  });
export type MilvusOptions = z.output<typeof milvusOptions>;
