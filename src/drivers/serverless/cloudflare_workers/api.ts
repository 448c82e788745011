import { z } from 'zod';
import {
  bodyWithin,
  ConnectorError,
  httpFailure,
  isConnectorError,
  loadPeer,
  networkFailure,
  parseRetryAfter,
  quoted,
  type Clock,
  type ErrorCode,
  type Fetcher,
  type FunctionInfo,
  type JsonValue,
} from '../../../driver.ts';
import { masked, secretsOf, type CloudflareWorkersOptions } from './options.ts';

export const CLOUDFLARE_RANGE = '^7.3.0';

/** More than any page has, and than the output of a Workflow, which is 1 MiB at most. */
const MAX_ANSWER_BYTES = 16 * 2 ** 20;
/** The client's own time, which is not used: ours ends a call. The longest that a timer of Node takes. */
const NEVER_MS = 2 ** 31 - 1;
const PAGE = 100;
const MAX_PAGES = 100;
/** Whatever the endpoint says: all of it is kept until the last page, and while the connector is open. */
const MAX_WORKFLOWS = 10_000;

/** How an instance of a Workflow is. */
export type Instance = z.output<typeof instance>;
const instance = z.object({
  status: z.string(),
  output: z
    .unknown()
    .optional()
    .transform((output) => (output ?? null) as JsonValue), // it came out of JSON.parse
  error: z.union([z.object({ name: z.string(), message: z.string() }), z.string()]).nullish(),
  start: z.string().nullish(),
  end: z.string().nullish(),
});
const script = z.object({ id: z.string().max(1_024), modified_on: z.string().nullish() });
const workflow = z.object({
  name: z.string().max(1_024),
  script_name: z.string().nullish(),
  modified_on: z.string().nullish(),
});
const envelope = z.looseObject({
  success: z.boolean(),
  result: z.unknown(),
  errors: z.array(z.object({ code: z.number(), message: z.string() })).nullish(),
});

/** What is used of the REST API of Cloudflare. */
export type CloudflareApi = {
  /** Whether the token may read. @throws ConnectorError `auth_failed`. */
  probe(signal: AbortSignal): Promise<void>;
  listScripts(signal: AbortSignal): Promise<readonly FunctionInfo[]>;
  listWorkflows(signal: AbortSignal): Promise<readonly string[]>;
  /** @throws ConnectorError `already_exists` for an id that was used before. */
  create(workflow: string, id: string, params: string, signal: AbortSignal): Promise<void>;
  get(workflow: string, id: string, signal: AbortSignal): Promise<Instance>;
  terminate(workflow: string, id: string, signal: AbortSignal): Promise<void>;
};

/**
 * The REST API through Cloudflare's own client over the guarded network; `undefined` without a token.
 *
 * Of the host's environment, which the client reads, nothing is sent. It repeats nothing.
 */
export async function cloudflareApi(
  options: CloudflareWorkersOptions,
  fetcher: Fetcher,
  clock: Clock,
): Promise<CloudflareApi | undefined> {
  const { api_token: token, account_id: account } = options;
  if (token === undefined || account === undefined) return undefined;
  const load = (): ReturnType<typeof sdk> => sdk();
  const { createClient, BaseScripts, BaseWorkflows, Instances } = await loadPeer(
    'cloudflare',
    CLOUDFLARE_RANGE,
    load,
  );
  const baseURL = options.api_endpoint.replace(/\/+$/, '');
  const secrets = secretsOf(options);
  const account_id = account;

  /** A client for one call, because what it makes of a failure has lost what the failure was. */
  const call = async <T>(signal: AbortSignal, task: (client: Client) => Promise<T>): Promise<T> => {
    let failure: unknown;
    const client = createClient({
      ...{ apiToken: token, apiKey: null, apiEmail: null, userServiceKey: null, baseURL },
      ...{ maxRetries: 0, timeout: NEVER_MS, logLevel: 'off' as const },
      resources: [BaseScripts, BaseWorkflows, Instances],
      fetch: async (input, init) => {
        try {
          return await answered(String(input), init ?? {}, signal);
        } catch (error) {
          failure = error;
          throw error;
        }
      },
    });
    try {
      signal.throwIfAborted();
      return await task(client);
    } catch (error) {
      const cause = failure ?? error;
      if (cause instanceof z.ZodError) throw notCloudflares(cause);
      throw isConnectorError(cause) ? cause : networkFailure(cause, signal);
    }
  };
  type Client = ReturnType<typeof createClient<[typeof BaseScripts, typeof BaseWorkflows, typeof Instances]>>;

  /** An answer that is known to be one of the API's, in full. */
  const answered = async (url: string, init: RequestInit, signal: AbortSignal): Promise<Response> => {
    const type = new Headers(init.headers).get('content-type');
    const response = await fetcher.fetch(url, {
      method: init.method ?? 'GET',
      // Not those of the client: they tell of this host, and hold what CLOUDFLARE_CUSTOM_HEADERS says.
      headers: {
        accept: 'application/json',
        authorization: `Bearer ${token}`,
        ...(type !== null && { 'content-type': type }),
      },
      body: init.body ?? null,
      signal,
    });
    const text = new TextDecoder().decode(await bodyWithin(response, MAX_ANSWER_BYTES));
    const parsed = envelope.safeParse(json(text));
    // A finished instance may come with `success: false` beside it, because its steps could not be told.
    if (!response.ok || (parsed.success && !parsed.data.success && (parsed.data.result ?? null) === null))
      throw refused(response, masked(text, secrets), clock);
    if (!parsed.success) throw notCloudflares(parsed.error);
    return new Response(text, { status: 200, headers: { 'content-type': 'application/json' } });
  };

  const listed = async (client: Client, page: number, per_page: number): Promise<readonly Workflow[]> => {
    const found = await client.workflows.list({ account_id, page, per_page });
    return z.array(workflow).parse(found.result);
  };
  return {
    probe: (signal) => call(signal, async (client) => void (await listed(client, 1, 1))),
    listScripts: (signal) =>
      call(signal, async (client) => {
        const found = await client.workers.scripts.list({ account_id });
        return z.array(script).parse(found.result).map(infoOf);
      }),
    listWorkflows: (signal) =>
      call(signal, async (client) => {
        const names = new Set<string>();
        for (let page = 1; page <= MAX_PAGES; page += 1) {
          const before = names.size;
          for (const { name } of await listed(client, page, PAGE)) names.add(name);
          if (names.size > MAX_WORKFLOWS)
            throw new ConnectorError('backend_error', `the account has more than ${MAX_WORKFLOWS} Workflows`);
          // A page may be shorter than was asked for, where its most is less: the last one has nothing new.
          if (names.size === before) break;
        }
        return [...names];
      }),
    create: (name, id, params, signal) =>
      call(signal, async (client) => {
        const created = await client.workflows.instances.create(name, {
          account_id,
          instance_id: id,
          params,
        });
        z.object({ id: z.literal(id) }).parse(created);
      }),
    get: (name, id, signal) =>
      call(signal, async (client) => {
        const query = { account_id, workflow_name: name, simple: 'true' } as const;
        return instance.parse(await client.workflows.instances.get(id, query));
      }),
    terminate: (name, id, signal) =>
      call(signal, async (client) => {
        const change = { account_id, workflow_name: name, status: 'terminate' } as const;
        await client.workflows.instances.status.edit(id, change);
      }),
  };
}
type Workflow = z.output<typeof workflow>;

/** The client and the three resources that are used: the whole of it is a hundred. */
async function sdk() {
  const [{ createClient }, { BaseScripts }, { BaseWorkflows, Instances }] = await Promise.all([
    import('cloudflare/tree-shakable'),
    import('cloudflare/resources/workers/scripts/scripts'),
    import('cloudflare/resources/workflows/index'),
  ]);
  return { createClient, BaseScripts, BaseWorkflows, Instances };
}

function infoOf({ id, modified_on }: z.output<typeof script>): FunctionInfo {
  const lastModified = Date.parse(modified_on ?? '');
  return {
    name: id,
    runtime: 'workerd',
    ...(Number.isFinite(lastModified) && { lastModified: new Date(lastModified) }),
  };
}

/**
 * By the API's own numbers where they say more than the status. No page lists them: those of Workflows are what
 * https://github.com/cloudflare/workers-sdk/pull/14735 has for one that is not found, and what users have seen; nothing
 * here depends on one alone.
 */
const BY_NUMBER: Readonly<Record<number, ErrorCode>> = {
  10405: 'already_exists',
  10400: 'not_found',
  10200: 'not_found',
  // "workflows.api.error.internal_server", also with status 200
  10001: 'unavailable',
  // "Invalid request headers", which is a token that cannot be one.
  6003: 'auth_failed',
  9106: 'auth_failed',
  9109: 'auth_failed',
  // "Please wait and consider throttling your request speed"
  971: 'rate_limited',
};

function refused({ status, headers }: Response, text: string, clock: Clock): ConnectorError {
  const parsed = envelope.safeParse(json(text));
  const [error] = (parsed.success ? parsed.data.errors : undefined) ?? [];
  const retryAfterMs = parseRetryAfter(headers.get('retry-after'), clock.now());
  const said = error
    ? `${error.message} [${error.code}]`
    : text.trimStart().startsWith('<')
      ? undefined
      : text;
  const failure = httpFailure({ status, message: said, retryAfterMs });
  // 403 is a token that may less than what was asked, or that is of another account; 409 an id that was used.
  const byStatus: Readonly<Record<number, ErrorCode>> = {
    403: 'auth_failed',
    409: 'already_exists',
    500: 'unavailable',
  };
  const code = BY_NUMBER[error?.code ?? 0] ?? byStatus[status] ?? failure.code;
  return new ConnectorError(code, `the API of Cloudflare: ${quoted(failure.message)}`, {
    details: { backend_status: status, ...(error && { backend_code: error.code }) },
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

function notCloudflares({ issues: [issue] }: z.ZodError): ConnectorError {
  const at = issue?.path.join('.') || 'all of it';
  return new ConnectorError(
    'backend_error',
    `the answer is not one of the API of Cloudflare: ${at} ${issue?.message ?? ''}`,
  );
}

function json(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
