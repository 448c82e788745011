import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { wireContract } from '../../../testing/wire-contract.fixture.ts';
import { REAL_FUNCTIONS, REAL_WORKFLOWS, type RealWorkers } from './workers.fixture.ts';

export const ACCOUNT = '0123456789abcdef0123456789abcdef';
export const TOKEN = 'token-of-the-tenant-0123456789abcdef';

/** One request that the double has seen. */
export type SeenRequest = {
  readonly method: string;
  /** Below the account, with its query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
};

/** An answer in the place of the next that would be given. */
export type Answer = {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
};

/** A double of the REST API of Cloudflare. */
export type ApiDouble = {
  /** The base URL of the API. */
  readonly url: string;
  readonly seen: readonly SeenRequest[];
  /** Requests that are not as published, which a test must find empty. */
  readonly wrong: readonly string[];
  /** What the account has; may be changed. */
  readonly workflows: Set<string>;
  /** Answers the next request of this method and path (its beginning below the account). */
  next(match: string, answer: Answer): void;
  close(): Promise<void>;
};

const PUBLISHED = path.resolve(
  import.meta.dirname,
  '../../../../node_modules/cloudflare/resources',
  '{workflows/workflows,workflows/instances/instances,workflows/instances/status,workers/scripts/scripts}.d.ts',
);
/** How much of a list one page has at most. Small, so that there are several. */
const MOST = 2;

/**
 * The part of the API that the driver uses, over real Workflows in workerd.
 *
 * What it is sent and what it answers is held against the types of Cloudflare's own client, which are made from its
 * OpenAPI. One thing is not as published: `output` is any JSON here, as in Cloudflare's own local API, where the types say
 * string or number.
 */
export async function apiDouble(real: RealWorkers): Promise<ApiDouble> {
  const contract = wireContract(PUBLISHED);
  const seen: SeenRequest[] = [];
  const wrong: string[] = [];
  const workflows = new Set<string>(REAL_WORKFLOWS);
  const created = new Set<string>();
  const planned: { readonly match: string; readonly answer: Answer }[] = [];

  const control = async (ask: object): Promise<Record<string, unknown>> => {
    const response = await fetch(`${real.url}/control`, { method: 'POST', body: JSON.stringify(ask) });
    return (await response.json()) as Record<string, unknown>; // our own Worker's
  };
  const ids = { version_id: 'version-1', workflow_id: 'workflow-1' };

  const answer = async (method: string, url: URL, body: unknown): Promise<Answer> => {
    const [area, name = '', sub, id = '', last] = url.pathname.split('/').slice(1).map(decodeURIComponent);
    const queried = [...url.searchParams.keys()].sort().join();
    if (method === 'GET' && url.pathname === '/workers/scripts' && queried === '') {
      const found = REAL_FUNCTIONS.map((script) => ({ id: script, modified_on: '2026-11-01T10:00:00Z' }));
      for (const one of found) contract.check('ScriptListResponse', one);
      return ok(found);
    }
    if (method === 'GET' && url.pathname === '/workflows' && queried === 'page,per_page') {
      const page = Number(url.searchParams.get('page'));
      const most = Math.min(MOST, Number(url.searchParams.get('per_page')));
      const found = [...workflows].slice((page - 1) * most, page * most).map(definitionOf);
      for (const one of found) contract.check('WorkflowListResponse', one);
      return ok(found, { page, per_page: most, count: found.length, total_count: workflows.size });
    }
    if (area !== 'workflows' || sub !== 'instances')
      throw new Error(`no such operation: ${method} ${url.pathname}`);
    if (!workflows.has(name)) return refusal(404, 10200, 'workflows.api.error.workflow.not_found');
    if (method === 'POST' && id === '' && queried === '') {
      contract.check('InstanceCreateParams', { ...(body as object), account_id: ACCOUNT });
      const { instance_id, params } = body as { instance_id: string; params: string };
      if (created.has(`${name}/${instance_id}`))
        return refusal(409, 10405, 'workflows.api.error.instance.already_exists');
      created.add(`${name}/${instance_id}`);
      await control({
        act: 'create',
        workflow: name,
        id: instance_id,
        params: JSON.parse(params) as unknown,
      });
      const made = { id: instance_id, status: 'queued', ...ids };
      contract.check('InstanceCreateResponse', made);
      return ok(made);
    }
    if (method === 'PATCH' && last === 'status' && queried === '') {
      contract.check('StatusEditParams', { ...(body as object), account_id: ACCOUNT, workflow_name: name });
      const { refused } = await control({ act: 'terminate', workflow: name, id });
      if (String(refused).includes('instance.not_found'))
        return refusal(404, 10400, 'workflows.api.error.instance.not_found');
      if (refused) return refusal(400, 10401, 'workflows.api.error.instance.cannot_terminate');
      const changed = { status: 'terminated', timestamp: '2026-11-01T10:00:00Z' };
      contract.check('StatusEditResponse', changed);
      return ok(changed);
    }
    if (method === 'GET' && id !== '' && last === undefined && queried === 'simple') {
      const found = await control({ act: 'get', workflow: name, id });
      if (found['refused']) return refusal(404, 10400, 'workflows.api.error.instance.not_found');
      const told = { ...found, ...INSTANCE };
      contract.check('InstanceGetResponse', { ...told, output: '' });
      return ok(told);
    }
    throw new Error(`no such operation: ${method} ${url.pathname}${url.search}`);
  };

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = '', headers } = request;
    const base = `/client/v4/accounts/${ACCOUNT}`;
    const url = new URL(request.url ?? '', 'http://double');
    const text = await textOf(request);
    let given: Answer;
    try {
      if (!url.pathname.startsWith(base)) throw new Error(`not below ${base}: ${url.pathname}`);
      url.pathname = url.pathname.slice(base.length);
      seen.push({ method, path: `${url.pathname}${url.search}`, headers });
      if ((text !== '') !== (headers['content-type'] === 'application/json'))
        throw new Error(`${method} ${url.pathname} is ${headers['content-type']}`);
      const at = planned.findIndex(({ match }) => `${method} ${url.pathname}`.startsWith(match));
      const [plan] = at < 0 ? [] : planned.splice(at, 1);
      if (plan) given = plan.answer;
      else if (headers.authorization !== `Bearer ${TOKEN}`)
        given = refusal(403, 10000, 'Authentication error');
      else given = await answer(method, url, text === '' ? undefined : JSON.parse(text));
    } catch (error) {
      wrong.push(String(error));
      given = refusal(400, 7003, String(error));
    }
    response.writeHead(given.status, { 'content-type': 'application/json', ...given.headers });
    response.end(typeof given.body === 'string' ? given.body : JSON.stringify(given.body));
  };
  const server = createServer((request, response) => void serve(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo; // a TCP server's address is never a pipe's name
  return {
    url: `http://127.0.0.1:${port}/client/v4`,
    ...{ seen, wrong, workflows },
    next: (match, given) => void planned.push({ match, answer: given }),
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

const INSTANCE = {
  ...{
    params: {},
    queued: '2026-11-01T10:00:00.000Z',
    rollback: null,
    success: null,
    step_count: 0,
    steps: [],
  },
  ...{ start: '2026-11-01T10:00:00.000Z', end: '2026-11-01T10:00:01.500Z' },
  ...{ trigger: { source: 'api' }, versionId: 'version-1' },
};

function definitionOf(name: string) {
  const at = '2026-11-01T10:00:00.000Z';
  return {
    ...{ id: `id-of-${name}`, name, class_name: 'Flow', script_name: 'flows', instances: {} },
    ...{ created_on: at, modified_on: at, triggered_on: null },
  };
}

/** https://developers.cloudflare.com/fundamentals/api/how-to/make-api-calls/ (read 2026-11-28) */
function ok(result: unknown, result_info?: object): Answer {
  return {
    status: 200,
    body: { success: true, errors: [], messages: [], result, ...(result_info && { result_info }) },
  };
}

export function refusal(status: number, code: number, message: string, headers = {}): Answer {
  return {
    status,
    headers,
    body: { success: false, errors: [{ code, message }], messages: [], result: null },
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer); // no encoding is set
  return Buffer.concat(chunks).toString();
}
