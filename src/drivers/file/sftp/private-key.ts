/**
 * The longest key that is taken, in characters: RSA of 8,192 bits fits. A signature is made on the event loop, and one of
 * 32,768 bits takes 7 s (seen).
 */
const MAX_KEY_CHARACTERS = 8192;
/** Rounds of bcrypt that derive a key from its passphrase, on the event loop: 10 ms each (seen). ssh-keygen has 16 or 24. */
const MAX_ROUNDS = 100;

// What ssh2 takes for a key in OpenSSH's format, in which alone rounds can be named.
const OPENSSH = /^-----BEGIN OPENSSH PRIVATE KEY-----\r?\n([\s\S]+)\r?\n-----END OPENSSH PRIVATE KEY-----$/;

/** Why a key is not taken, whatever else it is, as the end of a sentence; undefined where nothing speaks against it. */
export function privateKeyProblem(text: string): string | undefined {
  if (text.length > MAX_KEY_CHARACTERS)
    return `is at most ${MAX_KEY_CHARACTERS} characters, which RSA of 8,192 bits fits into`;
  const [, encoded] = OPENSSH.exec(text.trim()) ?? [];
  const rounds = encoded === undefined ? 0 : roundsIn(Buffer.from(encoded, 'base64'));
  return rounds > MAX_ROUNDS
    ? `is encrypted with at most ${MAX_ROUNDS} rounds, as by ssh-keygen -a ${MAX_ROUNDS}`
    : undefined;
}

/** See https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key; 0 for what is none, which ssh2 refuses. */
function roundsIn(key: Buffer): number {
  let at = 'openssh-key-v1\0'.length;
  const next = (): Buffer => {
    const start = at + 4;
    at = start + key.readUInt32BE(at);
    return key.subarray(start, at);
  };
  try {
    const [, , options] = [next(), next(), next()]; // after the cipher and the derivation
    if (options.length === 0) return 0;
    return options.readUInt32BE(4 + options.readUInt32BE(0));
  } catch {
    return 0;
  }
}
