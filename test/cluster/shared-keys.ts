import { type Answer, shown } from './calls.ts';
import type { Cluster } from './cluster.ts';
import { makeFunctions } from './functions.ts';

const CALLERS = 100;
const RUN_MS = 10;
const END_WITHIN_SECONDS = 30;

/** Sends one idempotency key from many callers over two servers, so often; each runs once and is answered alike. */
export async function shareKeys(cluster: Cluster, times: number, run: string): Promise<string> {
  const { calls, server, faults } = cluster;
  const connectorId = await makeFunctions(cluster, `shared-keys-${run}`);
  const path = `/connectors/${connectorId}/functions/once/invocations`;
  const two = [server(0), server(1)];
  for (let at = 0; at < times; at++) {
    const id = `${run}-shared-${at}`;
    const isAsync = at % 2 === 1;
    const body = { payload: { id, ms: RUN_MS }, async: isAsync, idempotency_key: id };
    const answers = await Promise.all(
      Array.from({ length: CALLERS }, (_, caller) => calls.ask(server(caller % 2), 'POST', path, { body })),
    );
    const wrong = answers.filter((answer) => answer === undefined || answer.status >= 300);
    for (const answer of wrong.slice(0, 3)) faults.push(`key ${id}: ${shown(answer)}`);
    const requestIds = new Set(answers.map((answer) => answer?.body['request_id']));
    if (requestIds.size !== 1) faults.push(`key ${id} has ${requestIds.size} request ids`);
    let ends: readonly (Answer | undefined)[] = answers;
    if (isAsync) {
      const one = `/connectors/${connectorId}/invocations/${String([...requestIds][0])}?wait=${END_WITHIN_SECONDS}`;
      ends = await Promise.all(two.map((server) => calls.ask(server, 'GET', one)));
    }
    const results = new Set(
      ends.map((answer) => JSON.stringify([answer?.body['status'], answer?.body['result']])),
    );
    if (results.size !== 1 || ends[0]?.body['status'] !== 'completed')
      faults.push(`key ${id} is answered as ${[...results].join(' and as ')}`);
  }
  const runs = await cluster.runs();
  for (let at = 0; at < times; at++) {
    const ran = runs[`${run}-shared-${at}`]?.length ?? 0;
    if (ran !== 1) faults.push(`key ${run}-shared-${at} ran ${ran} times`);
  }
  return `${times} keys from ${CALLERS} callers over two servers: one run each`;
}
