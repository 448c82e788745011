import { z } from 'zod';
import { adminOnly } from '../../../driver.ts';

// The runtime itself reads variables with these beginnings.
const RESERVED = /^(DENO|NODE|NPM|V8|LD|DYLD|RUST|SSL)(_|$)|_PROXY$/i;

export const localOptions = z.strictObject({
  memory_mb: z
    .int()
    .min(16)
    .max(1024)
    .default(128)
    .describe(
      'Memory of one function process beyond the runtime itself, in MB; one that takes more is killed.',
    ),
  env: z
    .record(
      z
        .string()
        .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, 'is letters, digits and _')
        .refine((name) => !RESERVED.test(name), 'is a variable of the runtime'),
      z.string().max(8192),
    )
    .default({})
    .describe(
      'Environment variables that functions see. They are stored and shown in clear: not for secrets.',
    ),
  allow_net: adminOnly(z.boolean())
    .default(false)
    .describe(
      'Whether functions reach the network. Private ranges of IPv4 stay denied; those of IPv6 cannot be, so only for functions that may reach what this host reaches over IPv6.',
    ),
  root: adminOnly(z.string().min(1))
    .optional()
    .describe("Absolute path of the folder that holds the functions, instead of the connector's own."),
});
