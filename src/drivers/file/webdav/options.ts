import { z } from 'zod';
import { secret } from '../../../driver.ts';

export const webdavOptions = z
  .strictObject({
    endpoint: z
      .url({ protocol: /^https?$/ })
      .refine((url) => !/[?#]|\/\/[^/]*@/.test(url), 'has no user, password, query or fragment')
      .refine((url) => decodes(url), 'has a path whose percent-encoding is valid')
      .describe(
        'URL of the folder that is the root, which must exist, such as https://cloud.example/remote.php/dav/files/ann.',
      ),
    username: z
      .string()
      .min(1)
      .regex(/^[^:\p{Cc}]+$/u, 'has no colon and no control characters')
      .optional()
      .describe('Name for basic or digest authentication, whichever the server asks for; needs a password.'),
    password: secret()
      .regex(/^\P{Cc}+$/u, 'has no control characters')
      .optional()
      .describe(
        'Password of the user; sent in clear where the server asks for basic authentication and the endpoint is http.',
      ),
    token: secret()
      .regex(/^[!-~]+$/, 'is visible ASCII without blanks')
      .optional()
      .describe(
        'Bearer token that is sent instead of a name and a password; in clear where the endpoint is http.',
      ),
    ca: z
      .string()
      .optional()
      .describe('Certificates in PEM that are trusted instead of the well-known ones.'),
  })
  .refine(({ username, password }) => (username === undefined) === (password === undefined), {
    error: 'is needed together with username',
    path: ['password'],
  })
  .refine(({ username, token }) => username === undefined || token === undefined, {
    error: 'and username exclude each other',
    path: ['token'],
  });

export type WebdavOptions = z.output<typeof webdavOptions>;

function decodes(url: string): boolean {
  try {
    decodeURIComponent(new URL(url).pathname);
    return true;
  } catch {
    return false;
  }
}
