import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { HttpAnswer } from '../../../clouds/gcp/http-answer.fixture.ts';
import { TokenEndpoints } from '../../../clouds/gcp/token-endpoints.fixture.ts';
import { runContract } from './run-contract.fixture.ts';

export const PROJECT = 'project-1';
export const REGION = 'europe-west1';
const PARENT = `projects/${PROJECT}/locations/${REGION}`;

/** What the double answers to the next requests whose `METHOD path` matches, instead of the truth. */
export type Fault = {
  readonly match: RegExp;
  readonly status?: number;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Never answers. */
  readonly silent?: true;
  readonly times?: number;
};

/** A service of the double: its name and URL, and what else of `google.cloud.run.v2.Service` is told. */
export type FakeService = { readonly uri: string; readonly more?: Readonly<Record<string, unknown>> };

/**
 * Google on loopback: the token endpoints, the metadata service of a machine, and the Cloud Run Admin API v2, whose every
 * request and answer is held against the protos that @google-cloud/run carries.
 */
export class GoogleDouble {
  readonly email = 'suite@project-1.iam.gserviceaccount.com';
  readonly key: string;
  readonly tokens: TokenEndpoints;
  readonly services = new Map<string, FakeService>();
  /** `METHOD path?query` of what was asked, in order, and the headers. */
  readonly requests: string[] = [];
  readonly headers: IncomingMessage['headers'][] = [];
  /** What the protos do not have. */
  readonly violations: string[] = [];
  /** Services on one page at most. */
  pageSize = 2;
  /** Whether the service account has roles/run.viewer. */
  mayList = true;
  readonly #contract = runContract();
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  #faults: Fault[] = [];
  #awaited: { readonly match: RegExp; readonly resolve: () => void }[] = [];

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.tokens = new TokenEndpoints(this.email, publicKey);
    this.key = JSON.stringify({
      type: 'service_account',
      project_id: PROJECT,
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
      client_email: this.email,
      // Nobody may follow it: the host that it names is not Google's.
      token_uri: 'http://127.0.0.1:9/token',
    });
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  async listen(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo; // a TCP server's address is never a pipe's name
    return `http://127.0.0.1:${port}`;
  }

  /** The options of a connector that finds its functions by the Cloud Run Admin API. */
  get options(): Readonly<Record<string, unknown>> {
    return { project_id: PROJECT, region: REGION, api_endpoint: this.url, ...this.credentials };
  }

  get credentials(): Readonly<Record<string, unknown>> {
    return { service_account_key: this.key, token_endpoint: `${this.url}/token` };
  }

  fail(...faults: readonly Fault[]): void {
    this.#faults.push(...faults);
  }

  /** Forgets what was to go wrong. */
  recover(): void {
    this.#faults = [];
  }

  /** Resolves with the next request whose `METHOD path?query` matches. */
  async reached(match: RegExp): Promise<void> {
    return new Promise((resolve) => this.#awaited.push({ match, resolve }));
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    const line = `${request.method} ${url.pathname}${url.search}`;
    this.requests.push(line);
    this.headers.push(request.headers);
    this.#awaited = this.#awaited.filter(({ match, resolve }) => !match.test(line) || void resolve());
    try {
      const fault = this.#faultFor(line);
      if (fault?.silent) return void request.resume();
      const answer =
        fault === undefined
          ? ((await this.tokens.handle(request, url)) ?? this.#api(request, url))
          : new HttpAnswer(fault.status ?? 200, fault.body ?? '', {
              'content-type': 'application/json',
              ...fault.headers,
            });
      request.resume();
      answer.send(response);
    } catch (error) {
      this.violations.push(`${line}: ${String(error)}`);
      failure(400, 'INVALID_ARGUMENT', String(error)).send(response);
    }
  }

  #faultFor(line: string): Fault | undefined {
    const at = this.#faults.findIndex(({ match }) => match.test(line));
    const fault = this.#faults[at];
    if (fault === undefined) return undefined;
    const { times = 1 } = fault;
    this.#faults = this.#faults.flatMap((one, i) =>
      i !== at ? [one] : times > 1 ? [{ ...one, times: times - 1 }] : [],
    );
    return fault;
  }

  #api(request: IncomingMessage, url: URL): HttpAnswer {
    const { method, name } = this.#contract.request(request.method ?? '', url.pathname, url.searchParams);
    if (!this.tokens.isValid(request.headers.authorization, 'cloud-platform'))
      return failure(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.');
    if (!this.mayList)
      return failure(403, 'PERMISSION_DENIED', `Permission 'run.services.list' denied to ${this.email}`);
    if (method === 'GetService') {
      const id = name.slice(`${PARENT}/services/`.length);
      const service = name.startsWith(`${PARENT}/services/`) ? this.services.get(id) : undefined;
      if (service === undefined) return failure(404, 'NOT_FOUND', `Resource '${id}' was not found`);
      return this.#held('Service', resourceOf(id, service));
    }
    if (method !== 'ListServices') throw new Error(`${method} is not in the double`);
    if (name !== PARENT) return failure(403, 'PERMISSION_DENIED', 'no such project');
    const query = url.searchParams;
    const size = Math.min(Number(query.get('pageSize')) || 100, this.pageSize);
    const from = Number(query.get('pageToken') || 0);
    const all = [...this.services];
    return this.#held('ListServicesResponse', {
      services: all.slice(from, from + size).map(([id, service]) => resourceOf(id, service)),
      ...(from + size < all.length && { nextPageToken: String(from + size) }),
    });
  }

  /** Answers of the double's own are held against the protos, too. */
  #held(message: string, value: unknown): HttpAnswer {
    this.#contract.check(message, JSON.parse(JSON.stringify(value)));
    return HttpAnswer.json(value);
  }
}

/** As `GoogleError.parseHttpError` of google-gax reads failures. */
function failure(code: number, status: string, message: string): HttpAnswer {
  return HttpAnswer.json({ error: { code, message, status } }, code);
}

function resourceOf(id: string, { uri, more }: FakeService): Record<string, unknown> {
  return {
    name: `${PARENT}/services/${id}`,
    uid: '0f7a3f0e-8c3b-4c7e-9f57-0d6c6c0b7f11',
    generation: '3',
    createTime: '2026-11-01T08:00:00.000000Z',
    updateTime: '2026-11-02T08:00:00.123456Z',
    ingress: 'INGRESS_TRAFFIC_ALL',
    launchStage: 'GA',
    uri,
    urls: [uri],
    latestReadyRevision: `${PARENT}/services/${id}/revisions/${id}-00003-abc`,
    template: {
      timeout: '300s',
      containers: [{ image: 'image', resources: { limits: { cpu: '1', memory: '512Mi' } } }],
    },
    buildConfig: { functionTarget: id, baseImage: 'nodejs22' },
    ...more,
  };
}
