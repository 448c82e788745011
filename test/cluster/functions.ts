import { shown } from './calls.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterServer } from './cluster-server.ts';
import { until } from './until.ts';

/** Longer than a lease and the look of whoever takes over. */
const RUN_WITHIN_MS = 45_000;
const LOOK_MS = 100;

/** Fields of a connector beside those that all have. */
type More = { readonly config?: object; readonly metadata?: object; readonly max_concurrency?: number };

const FOR_A_LOAD: More = {
  max_concurrency: 100,
  // Never reached: it is there to be counted where servers share it.
  config: { rate_limit_enabled: true, rate_limit_requests: 1_000_000 },
};

/** What makes a connector of functions, `once` among them. */
export function functionsBody({ functionsUrl }: Cluster, name: string, more: More = {}): object {
  return {
    ...{ connector_type: 'serverless', provider: 'http', name },
    ...more,
    config: { endpoint: functionsUrl, options: { functions: { once: '/once' } }, ...more.config },
  };
}

/** The id of a new connector of functions; it takes what a load sends, unless told otherwise. */
export async function makeFunctions(
  cluster: Cluster,
  name: string,
  { server = cluster.server(0), ...more }: More & { readonly server?: ClusterServer } = FOR_A_LOAD,
): Promise<string> {
  const body = functionsBody(cluster, name, more);
  const answer = await cluster.calls.ask(server, 'POST', '/connectors', { body });
  if (answer?.status !== 201) throw new Error(`no functions: ${shown(answer)}`);
  return String(answer.body['connector_id']);
}

/** The request id of an asynchronous call. */
export async function accept(
  { calls }: Cluster,
  server: ClusterServer,
  connectorId: string,
  payload: { readonly id: string; readonly ms: number },
  key?: string,
): Promise<string> {
  const body = { payload, async: true, ...(key !== undefined && { idempotency_key: key }) };
  const path = `/connectors/${connectorId}/functions/once/invocations`;
  const answer = await calls.ask(server, 'POST', path, { body });
  if (answer?.status !== 202) throw new Error(`not accepted: ${shown(answer)}`);
  return String(answer.body['request_id']);
}

/** Resolves when each ran so often. @throws Error when that takes too long. */
export async function untilRun(cluster: Cluster, ids: readonly string[], times: number): Promise<void> {
  const left = await until(
    async () => {
      const runs = await cluster.runs();
      return ids.filter((id) => (runs[id]?.length ?? 0) < times);
    },
    { isWanted: (left) => left.length === 0, withinMs: RUN_WITHIN_MS, everyMs: LOOK_MS },
  );
  if (left.length > 0) throw new Error(`did not run ${times} times: ${left.join(', ')}`);
}
