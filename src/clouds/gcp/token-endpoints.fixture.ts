import { createVerify, type KeyObject, randomBytes } from 'node:crypto';
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

  readonly email: string;
  readonly publicKey: KeyObject;

  constructor(email: string, publicKey: KeyObject) {
    this.email = email;
    this.publicKey = publicKey;
  }

  isValid(authorization: string | undefined): boolean {
    const token = /^Bearer (\S+)$/.exec(authorization ?? '')?.[1] ?? '';
    const known = this.#valid.get(token);
    return known !== undefined && known.expiresAtMs > Date.now() && known.scope.includes('devstorage');
  }

  /** What the backend does to all tokens when an administrator says so. */
  revoke(): void {
    this.#valid.clear();
  }

  async handle(request: IncomingMessage, url: URL): Promise<HttpAnswer | undefined> {
    const { pathname } = url;
    if (pathname === '/token') return this.#oauth(new URLSearchParams((await read(request)).toString()));
    if (pathname === '/v1/token')
      return this.#exchange(new URLSearchParams((await read(request)).toString()));
    if (pathname.endsWith(':generateAccessToken')) return this.#impersonate(request);
    if (pathname === '/subject')
      return request.headers['x-subject'] === 'yes'
        ? HttpAnswer.json({ id_token: SUBJECT_TOKEN })
        : new HttpAnswer(403);
    if (pathname === '/computeMetadata/v1/instance/service-accounts/default/token') {
      if (request.headers['metadata-flavor'] !== 'Google') return new HttpAnswer(403, 'no Metadata-Flavor');
      return this.#issue('machine', url.searchParams.get('scopes') ?? '');
    }
    return undefined;
  }

  #oauth(form: URLSearchParams): HttpAnswer {
    if (form.get('grant_type') === 'refresh_token')
      return form.get('refresh_token') === 'worthless-refresh'
        ? this.#issue('user', SCOPES_OF_USERS)
        : HttpAnswer.json({ error: 'invalid_grant' }, 400);
    const [head = '', body = '', signature = ''] = (form.get('assertion') ?? '').split('.');
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString() || '{}') as Record<string, unknown>;
    const isSigned = createVerify('RSA-SHA256')
      .update(`${head}.${body}`)
      .verify(this.publicKey, signature, 'base64url');
    const { iss, aud, iat, exp, scope } = claims;
    const now = Date.now() / 1000;
    const isFine =
      form.get('grant_type') === 'urn:ietf:params:oauth:grant-type:jwt-bearer' &&
      isSigned &&
      iss === this.email &&
      aud === 'https://oauth2.googleapis.com/token' &&
      Number(exp) - Number(iat) <= 3600 &&
      Math.abs(Number(iat) - now) < 60;
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

  async #impersonate(request: IncomingMessage): Promise<HttpAnswer> {
    const { scope } = JSON.parse((await read(request)).toString()) as { scope: readonly string[] };
    const token = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
    if (!this.#valid.get(token)?.scope.includes('cloud-platform')) return new HttpAnswer(403);
    const accessToken = this.#token('impersonation', scope[0] ?? '');
    const expireTime = new Date(Date.now() + this.lifeSeconds * 1000).toISOString();
    return HttpAnswer.json({ accessToken, expireTime });
  }

  #issue(how: string, scope: string): HttpAnswer {
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
const SCOPES_OF_USERS = 'https://www.googleapis.com/auth/devstorage.read_write';
