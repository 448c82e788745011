import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { GatewayDoubleOptions } from './gateway-double.fixture.ts';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ID_TOKEN = 'urn:ietf:params:oauth:token-type:id_token';

/**
 * A double of an identity provider (RFC 6749) and of the IAM of OpenFaaS that trusts it, after
 * https://docs.openfaas.com/openfaas-pro/iam/function-authentication/ (read 2026-11-28): the provider's tokens are worth nothing to
 * the API or a function until they have been exchanged, for the API or for one function.
 */
export class IdentityDouble {
  /** The forms of all requests for a token of the provider, and of all exchanges. */
  readonly logins: URLSearchParams[] = [];
  readonly exchanges: URLSearchParams[] = [];
  readonly #secret: string;
  readonly #lifeSeconds: number;
  readonly #server = createServer((request, response) => {
    void text(request).then((form) => {
      this.logins.push(new URLSearchParams(form));
      const [, given = ''] = request.headers.authorization?.split(' ') ?? [];
      const isKnown = Buffer.from(given, 'base64').toString() === `robot:${this.#secret}`;
      const answer = isKnown
        ? { access_token: this.#issue('idp'), token_type: 'Bearer', expires_in: this.#lifeSeconds }
        : { error: 'invalid_client', error_description: `not ${this.#secret}` };
      response.writeHead(isKnown ? 200 : 401, { 'content-type': 'application/json' });
      response.end(JSON.stringify(answer));
    });
  });
  readonly #valid = new Map<string, string>();
  #issued = 0;

  private constructor(secret: string, lifeSeconds: number) {
    this.#secret = secret;
    this.#lifeSeconds = lifeSeconds;
  }

  static async start(secret: string, lifeSeconds = 3600): Promise<IdentityDouble> {
    const double = new IdentityDouble(secret, lifeSeconds);
    double.#server.listen(0, '127.0.0.1');
    await once(double.#server, 'listening');
    return double;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo; // a TCP server's address is never a pipe's name
    return `http://127.0.0.1:${port}/realms/openfaas/token`;
  }

  /** What a client of it is opened with. */
  get options(): Readonly<Record<string, unknown>> {
    return { client_id: 'robot', client_secret: this.#secret, token_url: this.url };
  }

  /** What a gateway is started with that trusts it. */
  gateway(): Partial<GatewayDoubleOptions> {
    return {
      admits: (authorization) => (this.#isFor(authorization, 'api') ? 'yes' : 'no'),
      admitsCall: (authorization, name) => this.#isFor(authorization, name),
      exchange: (form) => this.#exchange(form),
    };
  }

  /** No token that was issued is taken any more. */
  revoke(): void {
    this.#valid.clear();
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #exchange(form: URLSearchParams): { readonly status: number; readonly body: unknown } {
    this.exchanges.push(form);
    const { grant_type, subject_token, subject_token_type, scope, audience, ...rest } =
      Object.fromEntries(form);
    const isAsked =
      grant_type === EXCHANGE && subject_token_type === ID_TOKEN && Object.keys(rest).length === 0;
    const purpose = scope === undefined && audience === undefined ? 'api' : audience;
    if (!isAsked || (purpose !== 'api' && scope !== 'function') || purpose === undefined)
      return { status: 599, body: form.toString() };
    const from = this.#valid.get(subject_token ?? '');
    if (from !== 'idp' && from !== 'api') return { status: 400, body: `invalid token ${subject_token}` };
    const token = { access_token: this.#issue(purpose), token_type: 'Bearer', expires_in: this.#lifeSeconds };
    return { status: 200, body: token };
  }

  #issue(purpose: string): string {
    const token = `${this.#secret}.${(this.#issued += 1)}`;
    this.#valid.set(token, purpose);
    return token;
  }

  #isFor(authorization: string | undefined, purpose: string): boolean {
    return this.#valid.get(authorization?.replace('Bearer ', '') ?? '') === purpose;
  }
}
