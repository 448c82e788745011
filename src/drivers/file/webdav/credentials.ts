import { challengesIn } from './challenge.ts';
import { DigestChallenge, type DigestRequest, type DigestUser } from './digest.ts';
import type { WebdavOptions } from './options.ts';

/** How requests say who sends them. */
export interface Credentials {
  /** The header of a request that is sent now; absent where nothing is to be said, or not yet. */
  authorization(request: DigestRequest): string | undefined;
  /** Takes in the challenge of an answer 401; true where the request should be sent again with what is known now. */
  challenged(header: string | undefined, sent: string | undefined): boolean;
  /** Takes in that an answer was not 401. */
  accepted(sent: string | undefined): void;
  /** Whether there is a password that no server has asked for. */
  readonly isUnasked: boolean;
}

export function credentialsOf({ username, password, token }: WebdavOptions): Credentials {
  if (username !== undefined && password !== undefined) return new Password({ username, password });
  const header = token === undefined ? undefined : `Bearer ${token}`;
  return { authorization: () => header, challenged: () => false, accepted: () => {}, isUnasked: false };
}

/**
 * A name and a password, by digest where the server offers it and basic where it offers that alone. Nothing is sent
 * before the server has asked: the basic form is the password itself, and another server may have taken the place.
 */
class Password implements Credentials {
  readonly #user: DigestUser;
  #way: 'basic' | DigestChallenge | undefined;

  constructor(user: DigestUser) {
    this.#user = user;
  }

  get isUnasked(): boolean {
    return this.#way === undefined;
  }

  authorization(request: DigestRequest): string | undefined {
    if (this.#way === undefined) return undefined;
    if (this.#way !== 'basic') return this.#way.answer(this.#user, request);
    const { username, password } = this.#user;
    return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }

  challenged(header = '', sent?: string): boolean {
    const challenges = challengesIn(header);
    const digest = DigestChallenge.among(challenges);
    const before = this.#way;
    if (digest !== undefined) {
      this.#way = digest;
      if (sent === undefined || !(before instanceof DigestChallenge)) return true;
      // A wrong password is not sent a second time: too many of them lock an account.
      return digest.isStale || before.isProven || !sent.includes(before.nonce);
    }
    // Whoever asked for a proof does not get the password itself later.
    const isBasic = challenges.some(({ scheme }) => scheme === 'basic');
    if (!isBasic || before instanceof DigestChallenge) return false;
    this.#way = 'basic';
    return sent === undefined;
  }

  accepted(sent: string | undefined): void {
    if (this.#way instanceof DigestChallenge && sent?.includes(`nonce="${this.#way.nonce}"`))
      this.#way.isProven = true;
  }
}
