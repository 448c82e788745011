import { createSign, createVerify, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { HttpAnswer, read } from './http-answer.fixture.ts';

export const SUBJECT_TOKEN = 'worthless-subject-token-7e21';
export const AUDIENCE =
  '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/provider';
const SCOPES = /^https:\/\/www\.googleapis\.com\/auth\/(?:devstorage\.read_write|cloud-platform)$/;

/** Google's token endpoints, the metadata service of a machine, and another provider's tokens, all at one place. */
export class TokenEndpoints {
  readonly #valid = new Map<string, { readonly expiresAtMs: number; readonly scope: string }>();
  /** Tokens that were handed out, by how. */
  readonly issued: string[] = [];
  lifeSeconds = 3600;
  /** What Google signs ID tokens with. */
  readonly #google = generateKeyPairSync('rsa', { modulusLength: 2048 });
  #revokedBefore = 0;
  #serial = 0;

  readonly email: string;
  readonly publicKey: KeyObject;

  constructor(email: string, publicKey: KeyObject) {
    this.email = email;
    this.publicKey = publicKey;
  }

  isValid(authorization: string | undefined, scope = 'devstorage'): boolean {
    const known = this.#valid.get(bearer(authorization));
    return known !== undefined && known.expiresAtMs > Date.now() && known.scope.includes(scope);
  }

  /** The audience of an ID token of ours that is valid. */
  audienceOf(authorization: string | undefined): string | undefined {
    const [head = '', body = '', signature = ''] = bearer(authorization).split('.');
    const isSigned = createVerify('RSA-SHA256')
      .update(`${head}.${body}`)
      .verify(this.#google.publicKey, signature, 'base64url');
    if (!isSigned) return undefined;
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as IdClaims; // it is ours
    const isFine = claims.exp * 1000 > Date.now() && claims.serial > this.#revokedBefore;
    return isFine ? claims.aud : undefined;
  }

  /** What the backend does to all tokens when an administrator says so. */
  revoke(): void {
    this.#valid.clear();
    this.#revokedBefore = this.#serial;
  }

  async handle(request: IncomingMessage, url: URL): Promise<HttpAnswer | undefined> {
    const { pathname } = url;
    if (pathname === '/token') return this.#oauth(new URLSearchParams((await read(request)).toString()));
    if (pathname === '/v1/token')
      return this.#exchange(new URLSearchParams((await read(request)).toString()));
    if (/^\/v1\/projects\/-\/serviceAccounts\/[^/]+:generate(?:Access|Id)Token$/.test(pathname))
      return this.#impersonate(request, pathname.endsWith(':generateIdToken'));
    if (pathname === '/subject')
      return request.headers['x-subject'] === 'yes'
        ? HttpAnswer.json({ id_token: SUBJECT_TOKEN })
        : new HttpAnswer(403);
    if (pathname === '/computeMetadata/v1/instance/service-accounts/default/token') {
      if (request.headers['metadata-flavor'] !== 'Google') return new HttpAnswer(403, 'no Metadata-Flavor');
      return this.#issue('machine', url.searchParams.get('scopes') ?? '');
    }
    if (pathname === '/computeMetadata/v1/instance/service-accounts/default/identity') {
      if (request.headers['metadata-flavor'] !== 'Google') return new HttpAnswer(403, 'no Metadata-Flavor');
      return new HttpAnswer(200, this.#idToken('machine', url.searchParams.get('audience') ?? ''));
    }
    return undefined;
  }

  #oauth(form: URLSearchParams): HttpAnswer {
    if (form.get('grant_type') === 'refresh_token')
      return form.get('refresh_token') === 'worthless-refresh'
        ? this.#issue('user', SCOPES_OF_USERS, form.get('target_audience'))
        : HttpAnswer.json({ error: 'invalid_grant' }, 400);
    const [head = '', body = '', signature = ''] = (form.get('assertion') ?? '').split('.');
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString() || '{}') as Record<string, unknown>;
    const isSigned = createVerify('RSA-SHA256')
      .update(`${head}.${body}`)
      .verify(this.publicKey, signature, 'base64url');
    const { iss, aud, iat, exp, scope, target_audience: audience } = claims;
    const now = Date.now() / 1000;
    const isFine =
      form.get('grant_type') === 'urn:ietf:params:oauth:grant-type:jwt-bearer' &&
      isSigned &&
      iss === this.email &&
      aud === 'https://oauth2.googleapis.com/token' &&
      Number(exp) - Number(iat) <= 3600 &&
      Math.abs(Number(iat) - now) < 60;
    if (isFine && scope === undefined && typeof audience === 'string')
      return HttpAnswer.json({ id_token: this.#idToken('key', audience) });
    if (!isFine || !SCOPES.test(String(scope)))
      return HttpAnswer.json({ error: 'invalid_grant', error_description: 'Invalid JWT Signature.' }, 400);
    return this.#issue('key', String(scope));
  }

  #exchange(form: URLSearchParams): HttpAnswer {
    const isFine =
      form.get('grant_type') === 'urn:ietf:params:oauth:grant-type:token-exchange' &&
      form.get('audience') === AUDIENCE &&
      form.get('requested_token_type') === 'urn:ietf:params:oauth:token-type:access_token' &&
      form.get('subject_token_type') === 'urn:ietf:params:oauth:token-type:jwt' &&
      form.get('subject_token') === SUBJECT_TOKEN &&
      SCOPES.test(form.get('scope') ?? '');
    if (!isFine) return HttpAnswer.json({ error: 'invalid_grant', error_description: 'no' }, 400);
    return this.#issue('exchange', form.get('scope') ?? '');
  }

  async #impersonate(request: IncomingMessage, isId: boolean): Promise<HttpAnswer> {
    const asked = JSON.parse((await read(request)).toString()) as Readonly<Record<string, unknown>>;
    const { scope = [], audience, ...rest } = asked;
    if (!this.isValid(request.headers.authorization, 'cloud-platform')) return new HttpAnswer(403);
    if (isId)
      return typeof audience === 'string' && JSON.stringify(rest) === '{"includeEmail":true}'
        ? HttpAnswer.json({ token: this.#idToken('impersonation', audience) })
        : new HttpAnswer(400);
    const accessToken = this.#token('impersonation', String((scope as readonly string[])[0]));
    const expireTime = new Date(Date.now() + this.lifeSeconds * 1000).toISOString();
    return HttpAnswer.json({ accessToken, expireTime });
  }

  #idToken(how: string, aud: string): string {
    const now = Math.floor(Date.now() / 1000);
    this.#serial += 1;
    const claims = { iss: 'https://accounts.google.com', aud, iat: now, exp: now + this.lifeSeconds };
    const text = [
      { alg: 'RS256', typ: 'JWT' },
      { ...claims, email: this.email, serial: this.#serial },
    ]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.');
    this.issued.push(`${how} id`);
    return `${text}.${createSign('RSA-SHA256').update(text).sign(this.#google.privateKey, 'base64url')}`;
  }

  #issue(how: string, scope: string, audience: string | null = null): HttpAnswer {
    if (audience !== null)
      return HttpAnswer.json({ id_token: this.#idToken(how, audience), expires_in: this.lifeSeconds });
    const access_token = this.#token(how, scope);
    return HttpAnswer.json({ access_token, expires_in: this.lifeSeconds, token_type: 'Bearer' });
  }

  #token(how: string, scope: string): string {
    const token = `ya29.worthless-${randomBytes(9).toString('hex')}`;
    this.#valid.set(token, { expiresAtMs: Date.now() + this.lifeSeconds * 1000, scope });
    this.issued.push(how);
    return token;
  }
}

/** A user's refresh token carries its own. */
const SCOPES_OF_USERS =
  'https://www.googleapis.com/auth/devstorage.read_write https://www.googleapis.com/auth/cloud-platform';

type IdClaims = { readonly aud: string; readonly exp: number; readonly serial: number };

function bearer(authorization: string | undefined): string {
  return /^Bearer (\S+)$/.exec(authorization ?? '')?.[1] ?? '';
}
