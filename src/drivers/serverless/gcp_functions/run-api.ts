import type { v2 } from '@google-cloud/run';
import { z } from 'zod';
import { ownError } from '../../../clouds/gcp/token-endpoint.ts';
import type { Tokens } from '../../../clouds/gcp/tokens.ts';
import {
  bodyWithin,
  type Clock,
  ConnectorError,
  type Fetcher,
  type FunctionInfo,
  httpFailure,
  isConnectorError,
  loadPeer,
  networkFailure,
  parseRetryAfter,
} from '../../../driver.ts';
import type { GcpFunctionsOptions } from './options.ts';
import { noFunction } from './places.ts';

export const RUN_RANGE = '^4.2.0';
/** https://www.googleapis.com/auth/cloud-platform is the one scope of `google.cloud.run.v2.Services`, as its proto says. */
export const RUN_SCOPE = 'https://www.googleapis.com/auth/cloud-platform';

/** The Cloud Run Admin API (v2) as far as functions need it, for one project and region. */
export interface RunApi {
  /** @throws ConnectorError `not_found` for no such service, or one that has no URL. */
  uriOf(name: string, signal: AbortSignal): Promise<string>;
  list(signal: AbortSignal): Promise<readonly FunctionInfo[]>;
  /** Proves with the least work that the API lets us in. */
  probe(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

// Services of a project and region: 1,000 at most (https://cloud.google.com/run/quotas, read 2026-11-28).
const PAGE_SIZE = 100;
const MAX_PAGES = 100;
/** Whatever the endpoint says: all of it is kept until the last page. */
const MAX_SERVICES = 10_000;
const MAX_ANSWER_BYTES = 32 * 2 ** 20;
/** Beyond every time of ours: the client would use its own otherwise, and timers that no test can move. */
const CLIENT_LIMIT_MS = 3_600_000;

/** What is used of `google.cloud.run.v2.Service`, as @google-cloud/run 4.2.0 decodes it. */
const service = z.object({
  name: z
    .string()
    .max(1_024)
    .regex(/\/services\/[^/]+$/),
  uri: z.string().max(2_048),
  description: z.string().max(4_096),
  updateTime: z.object({ seconds: z.coerce.number(), nanos: z.number() }).nullable(),
  latestReadyRevision: z.string().max(1_024),
  template: z
    .object({
      timeout: z.object({ seconds: z.coerce.number() }).nullable(),
      containers: z.array(
        z.object({ resources: z.object({ limits: z.record(z.string(), z.string()) }).nullable() }),
      ),
    })
    .nullable(),
  buildConfig: z.object({ baseImage: z.string().max(1_024) }).nullable(),
});
type Service = z.output<typeof service>;
const found = z.tuple([service]).rest(z.unknown());
const page = z.tuple([z.array(service), z.unknown(), z.object({ nextPageToken: z.string() })]);

/**
 * The official client in its REST mode, where each of its requests goes through `fetcher`: its transport, its search for
 * credentials, its repetitions and its proxies are not used.
 */
export async function runApi(
  { project_id: project, region, api_endpoint }: GcpFunctionsOptions,
  { fetcher, tokens, clock }: { readonly fetcher: Fetcher; readonly tokens: Tokens; readonly clock: Clock },
): Promise<RunApi> {
  const [run, auth] = await Promise.all([
    loadPeer('@google-cloud/run', RUN_RANGE, () => import('@google-cloud/run')),
    loadPeer('google-auth-library', '^11.3.0', () => import('google-auth-library')),
  ]);
  const parent = `projects/${project}/locations/${region}`;
  const { protocol, hostname, port } = new URL(api_endpoint);
  const client: v2.ServicesClient = new run.v2.ServicesClient({
    fallback: true,
    apiEndpoint: hostname,
    port: Number(port) || (protocol === 'https:' ? 443 : 80),
    protocol: protocol.slice(0, -1),
    universeDomain: 'googleapis.com',
    authClient: new auth.PassThroughClient({
      transporterOptions: {
        // It is called with an address, never with a Request.
        fetchImplementation: guarded(fetcher, clock) as typeof globalThis.fetch,
        retry: false,
        retryConfig: { retry: 0, noResponseRetries: 0 },
      },
    }),
  });

  const call = async <Answer>(
    signal: AbortSignal,
    answer: z.ZodType<Answer>,
    ask: (options: CallOptions) => Promise<unknown>,
  ): Promise<Answer> => {
    const token = await tokens.current(signal);
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const options = { retry: null, timeout: CLIENT_LIMIT_MS, autoPaginate: false, otherArgs: { headers } };
    let given: unknown;
    try {
      given = await fetcher.during(signal, () => ask(options));
    } catch (error) {
      if (signal.aborted) throw networkFailure(error, signal);
      // No cause: the client's errors keep the request, and with it the token.
      const own = ownError(error) ?? notCloudRun('it is not what its interface describes');
      if (token !== undefined && own.details['backend_status'] === 401) tokens.forget(token);
      throw own;
    }
    const parsed = answer.safeParse(given);
    if (!parsed.success) throw notCloudRun(parsed.error.issues[0]?.path.join('.') ?? 'all of it');
    return parsed.data;
  };

  const pageOf = (pageToken: string, pageSize: number, signal: AbortSignal) =>
    call(signal, page, (options) => client.listServices({ parent, pageSize, pageToken }, options));

  return {
    async uriOf(name, signal) {
      try {
        const [{ uri }] = await call(signal, found, (options) =>
          client.getService({ name: `${parent}/services/${name}` }, options),
        );
        if (!/^https?:\/\/[^/?#@]+/.test(uri) || !URL.canParse(uri))
          throw new ConnectorError('not_found', `service ${name} has no URL at which it is called`);
        return uri;
      } catch (error) {
        throw isConnectorError(error) && error.details['backend_status'] === 404 ? noFunction(name) : error;
      }
    },
    async list(signal) {
      const all: FunctionInfo[] = [];
      const seen = new Set<string>();
      let pageToken = '';
      do {
        const [services, , { nextPageToken }] = await pageOf(pageToken, PAGE_SIZE, signal);
        all.push(...services.map(infoOf));
        if (seen.has(nextPageToken) || seen.size > MAX_PAGES || all.length > MAX_SERVICES)
          throw notCloudRun('its pages do not end');
        seen.add(nextPageToken);
        pageToken = nextPageToken;
      } while (pageToken !== '');
      return all;
    },
    probe: async (signal) => void (await pageOf('', 1, signal)),
    close: () => client.close(),
  };
}

type CallOptions = {
  readonly retry: null;
  readonly timeout: number;
  readonly autoPaginate: boolean;
  readonly otherArgs: { readonly headers: Readonly<Record<string, string>> };
};

/** A `fetch` that fails with an error of ours for every answer that is no success. */
function guarded(fetcher: Fetcher, clock: Clock) {
  return async (url: string | URL, { method = 'GET', headers, signal }: RequestInit = {}) => {
    try {
      const answer = await fetcher.fetch(String(url), {
        method,
        headers: [...new Headers(headers)],
        ...(signal && { signal }),
      });
      const body = await bodyWithin(answer, MAX_ANSWER_BYTES);
      if (!answer.ok) throw refused(answer, body, clock);
      // The client takes a list, too, for a message without fields.
      if (!z.record(z.string(), z.unknown()).safeParse(json(body)).success)
        throw notCloudRun('it is no JSON object');
      // A copy: the body was unpacked, whatever the headers say.
      return new Response(new Uint8Array(body), { headers: { 'content-type': 'application/json' } });
    } catch (error) {
      throw isConnectorError(error) ? error : networkFailure(error, signal ?? undefined);
    }
  };
}

/** The failures of Google's interfaces as `GoogleError.parseHttpError` of google-gax 6.17 reads them. */
const failure = z.object({ error: z.object({ status: z.string().regex(/^[A-Z_]{1,40}$/) }) });

function refused({ status, headers }: Response, body: Uint8Array, clock: Clock): ConnectorError {
  const said = failure.safeParse(json(body));
  const backendCode = said.success ? said.data.error.status : undefined;
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'), clock.now());
  const known = httpFailure({ status, message: backendCode, retryAfterMs });
  const details = {
    backend_status: status,
    ...(backendCode !== undefined && { backend_code: backendCode }),
  };
  if (status === 403)
    return new ConnectorError(
      'auth_failed',
      'the Cloud Run Admin API wants run.services.get and run.services.list, for example by roles/run.viewer',
      { details },
    );
  const code = status === 500 ? 'unavailable' : known.code;
  return new ConnectorError(code, `the Cloud Run Admin API: ${known.message}`, {
    details,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

function infoOf({
  name,
  description,
  updateTime,
  latestReadyRevision,
  template,
  buildConfig,
}: Service): FunctionInfo {
  const memoryMb = megabytes(template?.containers[0]?.resources?.limits['memory']);
  const timeoutSeconds = template?.timeout?.seconds;
  const version = latestReadyRevision.split('/').at(-1);
  return {
    name: name.slice(name.lastIndexOf('/') + 1),
    ...(buildConfig?.baseImage && { runtime: buildConfig.baseImage }),
    ...(memoryMb !== undefined && { memoryMb }),
    ...(timeoutSeconds !== undefined && { timeoutSeconds }),
    ...(updateTime !== null && {
      lastModified: new Date(updateTime.seconds * 1000 + Math.floor(updateTime.nanos / 1e6)),
    }),
    ...(description && { description }),
    ...(version && { version }),
  };
}

const MEBIBYTES: Readonly<Record<string, number>> = {
  ...{ Ki: 2 ** -10, Mi: 1, Gi: 2 ** 10, k: 1e3 / 2 ** 20, M: 1e6 / 2 ** 20, G: 1e9 / 2 ** 20 },
  '': 2 ** -20,
};

/** Cloud Run writes memory as Kubernetes does, where `M` is 10^6 and `Mi` is 2^20. Anything else is not told. */
function megabytes(quantity: string | undefined): number | undefined {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)(Ki|Mi|Gi|k|M|G)?$/.exec(quantity ?? '') ?? [];
  const factor = MEBIBYTES[unit];
  return number === undefined || factor === undefined ? undefined : Math.round(Number(number) * factor);
}

function json(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined;
  }
}

function notCloudRun(what: string): ConnectorError {
  return new ConnectorError('backend_error', `the answer is not one of the Cloud Run Admin API: ${what}`);
}
