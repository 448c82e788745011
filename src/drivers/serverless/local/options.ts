import { z } from 'zod';
import { adminOnly, secret } from '../../../driver.ts';

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
// The runtime itself reads variables with these beginnings.
const RESERVED = /^(DENO|NODE|NPM|V8|LD|DYLD|RUST|SSL)(_|$)|_PROXY$/i;
/** Their names are an argument of each process, and arguments are limited. */
const MAX_VARIABLES = 100;

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
        .regex(NAME)
        .refine((name) => !RESERVED.test(name)),
      secret().max(8192),
      {
        error: ({ code }) =>
          code === 'invalid_key'
            ? 'is no name for a variable: 1 to 128 letters, digits and _, and none that the runtime reads'
            : undefined,
      },
    )
    .refine((env) => Object.keys(env).length <= MAX_VARIABLES, `has at most ${MAX_VARIABLES} variables`)
    .default({})
    .describe(
      'Environment variables that functions see, each sealed by itself as the credential `env.NAME`. A function can print what it sees.',
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
