import { createHash } from 'node:crypto';

/** The keys of which the server has to hold one. */
export type HostKeys = {
  accepts(key: Uint8Array): boolean;
  /**
   * The signature algorithms to agree on, so that the server shows a key of a type that is known; undefined where a
   * fingerprint leaves the type open.
   */
  readonly algorithms: readonly string[] | undefined;
};

/** Key types that ssh2 can verify, and the algorithms that prove a key of the type, best first. */
const ALGORITHMS: Readonly<Record<string, readonly string[]>> = {
  'ssh-ed25519': ['ssh-ed25519'],
  'ecdsa-sha2-nistp256': ['ecdsa-sha2-nistp256'],
  'ecdsa-sha2-nistp384': ['ecdsa-sha2-nistp384'],
  'ecdsa-sha2-nistp521': ['ecdsa-sha2-nistp521'],
  'ssh-rsa': ['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa'],
};
const FINGERPRINT = /^SHA256:[A-Za-z0-9+/]{43}$/;
const MARKER = /^@/;

/** What `host_key` has to look like, as the end of a sentence. */
export const HOST_KEY_RULE =
  'is one key or fingerprint a line, as ssh-keyscan prints them: "ssh-ed25519 AAAA…" or "SHA256:…"';

/**
 * The keys in a text of lines as `ssh-keyscan` prints them, with or without the host's name before the key, or of
 * fingerprints as `ssh-keygen -l` does. Undefined where a line is neither, so that a typing error is no open door.
 */
export function hostKeys(text: string): HostKeys | undefined {
  const accepted = new Set<string>();
  const algorithms = new Set<string>();
  let isTypeOpen = false;
  for (const line of text.split(/\r?\n/).map((each) => each.trim())) {
    if (line === '' || line.startsWith('#')) continue;
    if (FINGERPRINT.test(line)) {
      accepted.add(line);
      isTypeOpen = true;
      continue;
    }
    const key = keyIn(line);
    if (key === undefined) return undefined;
    accepted.add(fingerprint(key.blob));
    for (const algorithm of key.algorithms) algorithms.add(algorithm);
  }
  if (accepted.size === 0) return undefined;
  return {
    accepts: (key) => accepted.has(fingerprint(key)),
    algorithms: isTypeOpen ? undefined : [...algorithms],
  };
}

/** As OpenSSH shows it: `SHA256:` and 43 characters. */
export function fingerprint(key: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replaceAll('=', '')}`;
}

function keyIn(line: string): { readonly blob: Buffer; readonly algorithms: readonly string[] } | undefined {
  if (MARKER.test(line)) return undefined;
  const words = line.split(/\s+/);
  const at = words.findIndex((word) => Object.hasOwn(ALGORITHMS, word));
  const [type = '', encoded = ''] = at === 0 || at === 1 ? words.slice(at) : [];
  const algorithms = Object.hasOwn(ALGORITHMS, type) ? ALGORITHMS[type] : undefined;
  if (algorithms === undefined || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return undefined;
  const blob = Buffer.from(encoded, 'base64');
  // A key begins with its own type, so one that was cut or pasted together wrongly is found out here.
  const named = blob.length > 4 ? blob.subarray(4, 4 + blob.readUInt32BE(0)).toString('latin1') : '';
  return named === type ? { blob, algorithms } : undefined;
}
