import { z } from 'zod';
import { adminOnly, secret } from '../../../driver.ts';
import { HOST_KEY_RULE, hostKeys } from './host-key.ts';
import { privateKeyProblem } from './private-key.ts';

export const sftpOptions = z
  .strictObject({
    endpoint: z
      .url({ protocol: /^sftp$/, error: 'is a URL such as sftp://user@host:22' })
      .refine((url) => URL.parse(url)?.password === '', {
        error: 'holds a password; leave it out and put it into password, where it is kept encrypted',
        abort: true,
      })
      .refine((url) => /^sftp:\/\/[^/@?#]+@[^/@?#]+\/?$/.test(url), {
        error: 'names a user and a host, and has no path, query or fragment; the folder is the option root',
        abort: true,
      })
      .refine(isDecodable, 'has a user that is percent-encoded as URLs are')
      .describe(
        'The server and the user to log in as: sftp://user@host:port. The port is 22 unless told; an @ in the user is written %40.',
      ),
    root: z
      .string()
      .min(1)
      .max(1024)
      .refine((path) => !path.includes('\0'), 'holds no NUL')
      .optional()
      .describe(
        'An existing folder of the server that all paths are relative to, absolute or relative to where a login begins; never created. Where a login begins unless told.',
      ),
    password: secret()
      .max(1024)
      .optional()
      .describe('Password of the user; also answered where the server asks for it by keyboard-interactive.'),
    private_key: secret()
      .superRefine((text, { addIssue }) => {
        const message = privateKeyProblem(text);
        if (message !== undefined) addIssue({ code: 'custom', message });
      })
      .optional()
      .describe('Private key of the user, in PEM or in the format of OpenSSH. Tried before the password.'),
    passphrase: secret().max(1024).optional().describe('What the private key is encrypted with.'),
    host_key: z
      .string()
      .max(65_536)
      .refine((text) => hostKeys(text) !== undefined, HOST_KEY_RULE)
      .optional()
      .describe(
        'Public keys of the server, one a line as `ssh-keyscan -p PORT HOST` prints them, or their SHA256 fingerprints; the server has to prove that it holds one. Compare with what its administrator says before you trust the output.',
      ),
    insecure_any_host_key: adminOnly(z.boolean())
      .default(false)
      .describe(
        'Whether any server is believed, so that whoever sits in between reads the password and every file; false unless told.',
      ),
    keepalive_seconds: z
      .int()
      .min(0)
      .max(3600)
      .default(15)
      .describe(
        'Seconds of silence after which the server is asked for a sign of life; after three without one the connection is given up. 0 for never; 15 unless told.',
      ),
  })
  .superRefine(({ password, private_key, passphrase, host_key, insecure_any_host_key }, context) => {
    const issue = (path: string, message: string) =>
      context.addIssue({ code: 'custom', path: [path], message });
    if (password === undefined && private_key === undefined)
      issue('password', 'is missing; log in with password, private_key or both');
    if (passphrase !== undefined && private_key === undefined)
      issue('passphrase', 'is for a private_key, and there is none');
    if (host_key === undefined && !insecure_any_host_key)
      issue(
        'host_key',
        'is missing; run `ssh-keyscan -p PORT HOST`, compare the key with what the administrator of the server says, and put the line here',
      );
    if (host_key !== undefined && insecure_any_host_key)
      issue('insecure_any_host_key', 'is set, and a host_key is given as well');
  });
export type SftpOptions = z.output<typeof sftpOptions>;

/** The server and the user that the endpoint names. */
export type Server = { readonly host: string; readonly port: number; readonly user: string };

export function serverOf({ endpoint }: Pick<SftpOptions, 'endpoint'>): Server {
  const { hostname, port, username } = new URL(endpoint);
  return {
    // Sockets take an IPv6 address without the brackets that a URL needs.
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port) || 22,
    user: decodeURIComponent(username),
  };
}

function isDecodable(url: string): boolean {
  try {
    return serverOf({ endpoint: url }).user !== '';
  } catch {
    return false;
  }
}
