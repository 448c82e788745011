import { createHash, randomBytes } from 'node:crypto';
import type { Challenge } from './challenge.ts';

/** Hashes that a server may ask for, the best first, and what Node calls them. */
const HASHES = { 'sha-512-256': 'sha512-256', 'sha-256': 'sha256', md5: 'md5' } as const;
type Hash = keyof typeof HASHES;

export type DigestUser = { readonly username: string; readonly password: string };
export type DigestRequest = { readonly method: string; readonly target: string };

/** What a server gave to prove a password with, until it wants another. */
export class DigestChallenge {
  readonly nonce: string;
  readonly isStale: boolean;
  /** Whether the server has taken an answer to it, so that a refusal can only mean that its time is over. */
  isProven = false;
  readonly #parameters: Challenge['parameters'];
  readonly #hash: Hash;
  readonly #isSession: boolean;
  readonly #hasQop: boolean;
  #uses = 0;

  private constructor(parameters: Challenge['parameters'], hash: Hash, isSession: boolean, nonce: string) {
    this.#parameters = parameters;
    this.#hash = hash;
    this.#isSession = isSession;
    this.#hasQop = parameters['qop'] !== undefined;
    this.nonce = nonce;
    this.isStale = parameters['stale']?.toLowerCase() === 'true';
  }

  /** The best of a server's challenges that can be answered; undefined where there is none. */
  static among(challenges: readonly Challenge[]): DigestChallenge | undefined {
    const usable = challenges.flatMap(({ scheme, parameters }) => {
      const { nonce, qop = 'auth', algorithm = 'md5' } = parameters;
      const [, name = '', session] = /^(.*?)(-sess)?$/i.exec(algorithm) ?? [];
      const hash = name.toLowerCase();
      const isOffered = scheme === 'digest' && nonce !== undefined && /(?:^|[\s,])auth(?:$|[\s,])/i.test(qop);
      if (!isOffered || !isHash(hash)) return [];
      return [new DigestChallenge(parameters, hash, session !== undefined, nonce)];
    });
    const order = Object.keys(HASHES);
    return usable.sort((a, b) => order.indexOf(a.#hash) - order.indexOf(b.#hash))[0];
  }

  /** The header that proves the password for one request (RFC 7616, section 3.4). */
  answer(
    { username, password }: DigestUser,
    { method, target }: DigestRequest,
    cnonce = randomBytes(16).toString('hex'),
  ): string {
    const { realm = '', opaque, algorithm } = this.#parameters;
    const hashed = (...parts: readonly string[]) =>
      createHash(HASHES[this.#hash]).update(parts.join(':')).digest('hex');
    this.#uses += 1;
    const count = this.#uses.toString(16).padStart(8, '0');
    const user = hashed(username, realm, password);
    const secret = this.#isSession ? hashed(user, this.nonce, cnonce) : user;
    const action = hashed(method, target);
    const response = this.#hasQop
      ? hashed(secret, this.nonce, count, cnonce, 'auth', action)
      : hashed(secret, this.nonce, action);
    return `Digest ${[
      usernameParameter(username),
      `realm=${quoted(realm)}`,
      `nonce=${quoted(this.nonce)}`,
      `uri=${quoted(target)}`,
      `response="${response}"`,
      ...(algorithm === undefined ? [] : [`algorithm=${algorithm}`]),
      ...(opaque === undefined ? [] : [`opaque=${quoted(opaque)}`]),
      ...(this.#hasQop ? ['qop=auth', `nc=${count}`] : []),
      ...(this.#hasQop || this.#isSession ? [`cnonce="${cnonce}"`] : []),
    ].join(', ')}`;
  }
}

function isHash(name: string): name is Hash {
  return Object.hasOwn(HASHES, name);
}

/** A header is ASCII: another name is sent in the form of RFC 8187. */
function usernameParameter(username: string): string {
  if (/^[ -~]+$/.test(username)) return `username=${quoted(username)}`;
  const encoded = encodeURIComponent(username).replaceAll(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `username*=UTF-8''${encoded}`;
}

function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
}
