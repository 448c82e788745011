import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { isDeepStrictEqual } from 'node:util';
import type { Invocation, InvocationStatus } from '../../src/connectors/serverless/invocations.ts';
import { ConnectorRegistry } from '../../src/index.ts';
import type { Call } from './invocation-client.ts';
import { type Execution, thrownFor } from './observed-functions.ts';

/** What the functions' own process does not see: a local function runs in a sandbox of the server. */
export type Observed = { readonly isLocal: boolean; readonly executions: readonly Execution[] };

export type Expectation = {
  readonly dataDir: string;
  readonly tenantId: string;
  readonly calls: readonly Call[];
  /** The function that may run more than once under a key. */
  readonly idempotentFunction: string;
  observed(call: Call): Observed;
};

export type Outcome = {
  /** Invocations that an answer named, each once. */
  readonly acknowledged: number;
  /** Stored ones whose answer was lost. */
  readonly unheard: number;
  readonly ends: Readonly<Partial<Record<InvocationStatus, number>>>;
  /** Invocations that ran more than once: without a key, of a function declared idempotent, and those that may not. */
  readonly rerun: { readonly withoutKey: number; readonly idempotent: number; readonly underKey: number };
  /** Of those that are lost, the ones whose server was killed before it called the function; local ones left out. */
  readonly lostUnrun: number;
  readonly largeResults: number;
  readonly faults: readonly string[];
};

const ENDS: ReadonlySet<string> = new Set(['completed', 'failed', 'timed_out', 'cancelled', 'lost']);

type Row = {
  readonly requestId: string;
  readonly connectorId: string;
  readonly status: string;
  readonly resultFile: string | null;
};

/** Looks at everything that is stored, once nothing runs any more. */
export async function checkInvocations(expected: Expectation): Promise<Outcome> {
  const { dataDir, calls } = expected;
  const faults: string[] = [];
  const found = await readAll(expected);
  const rows = readRows(dataDir);
  const known = new Map(rows.map((row) => [row.requestId, row]));
  const rerun = { withoutKey: 0, idempotent: 0, underKey: 0 };
  const ends: Partial<Record<InvocationStatus, number>> = {};
  let [acknowledged, lostUnrun] = [0, 0];
  for (const call of calls) {
    const runs = expected.observed(call);
    const say = (what: string) =>
      faults.push(
        `call ${call.id} of ${call.functionName} ${call.key ? 'with' : 'without'} key, ${[...call.requestIds].join()}: ${what}`,
      );
    checkExecutions(call, runs, say);
    if (runs.executions.length > 1) {
      const kind = call.key === undefined ? 'withoutKey' : isOnce(call, expected) ? 'underKey' : 'idempotent';
      rerun[kind] += 1;
      if (kind === 'underKey') say(`executed ${runs.executions.length} times`);
    }
    const [requestId] = call.requestIds;
    if (requestId === undefined) continue;
    acknowledged += 1;
    const stored = found.get(requestId);
    if (!stored || known.get(requestId)?.connectorId !== call.connectorId) say('is lost from the store');
    else {
      ends[stored.status] = (ends[stored.status] ?? 0) + 1;
      if (stored.status === 'lost' && !runs.isLocal && runs.executions.length === 0) lostUnrun += 1;
      checkEnd(call, stored, runs, isOnce(call, expected), say);
    }
  }
  for (const { requestId, status } of rows)
    if (!ENDS.has(status)) faults.push(`${requestId} has not ended: ${status}`);
  const files = await resultFiles(dataDir);
  faults.push(...leftOver(files, rows));
  const largeResults = rows.filter(({ resultFile }) => resultFile !== null).length;
  return { acknowledged, unheard: rows.length - acknowledged, ends, rerun, lostUnrun, largeResults, faults };
}

function isOnce({ key, functionName }: Call, { idempotentFunction }: Expectation): boolean {
  return key !== undefined && functionName !== idempotentFunction;
}

type Say = (what: string) => void;

/** Every execution of one call is told the same request id, and it is the one that was answered. */
function checkExecutions({ requestIds }: Call, { executions }: Observed, say: Say): void {
  const all = new Set([...requestIds, ...executions.map(({ requestId }) => requestId)]);
  if (all.size > 1) say(`has more than one request id: ${[...all].join(', ')}`);
}

function checkEnd(
  { id, seen, key, cancelAsked, functionName }: Call,
  { status, result, error }: Invocation,
  { isLocal, executions }: Observed,
  isOnce: boolean,
  say: Say,
): void {
  if (seen && seen.status !== status) say(`was answered as ${seen.status}, and is ${status}`);
  if (status === 'completed') {
    if (isLocal ? !isEcho(id, result) : !executions.some(({ answer }) => isDeepStrictEqual(answer, result)))
      say('has a result that the function did not give');
    // What was answered before, or while another attempt ran, is what is stored: a result does not change.
    const isTold = seen?.status === 'completed' && seen.result !== undefined;
    if (isTold && !isDeepStrictEqual(seen.result, result)) say('has another result than was answered');
  } else if (status === 'failed') {
    const thrown = { name: error?.name, message: error?.message };
    if (functionName !== 'throws' || !isDeepStrictEqual(thrown, thrownFor(id)) || executions.length === 0)
      say(`failed with ${error?.name}: ${error?.message}`);
  } else if (status === 'lost') {
    if (!isOnce) say(`is lost, ${key ? 'declared idempotent' : 'without a key'}`);
    if (error?.name !== 'LostError') say(`is lost, and says ${error?.name}`);
  } else if (status !== 'cancelled' || !cancelAsked) say(`ended as ${status}`);
}

function isEcho(id: string, result: unknown): boolean {
  return typeof result === 'object' && result !== null && 'id' in result && result.id === id;
}

/** Every stored invocation, as the library answers it. */
async function readAll({ dataDir, tenantId, calls }: Expectation): Promise<ReadonlyMap<string, Invocation>> {
  const found = new Map<string, Invocation>();
  await using registry = await ConnectorRegistry.open({ dataDir, resumeInvocations: false });
  for (const connectorId of new Set(calls.map((call) => call.connectorId))) {
    const functions = await registry.forTenant(tenantId).serverless(connectorId);
    for (let cursor: string | undefined; ;) {
      const page = await functions.listInvocations({ limit: 1_000, cursor });
      // One after another: large results would not fit into memory together.
      for (const { requestId } of page.invocations)
        found.set(requestId, await functions.getResult(requestId));
      cursor = page.nextCursor;
      if (cursor === undefined) break;
    }
  }
  return found;
}

function readRows(dataDir: string): readonly Row[] {
  const database = new DatabaseSync(join(dataDir, 'registry.db'), { readOnly: true });
  try {
    const integrity = database.prepare('pragma integrity_check').get()?.['integrity_check'];
    if (integrity !== 'ok') throw new Error(`registry.db: ${String(integrity)}`);
    // The columns below are the type.
    return database
      .prepare(
        `select request_id as requestId, connector_id as connectorId, status,
          json_extract(outcome, '$.resultFile') as resultFile from invocations`,
      )
      .all() as Row[];
  } finally {
    database.close();
  }
}

async function resultFiles(dataDir: string): Promise<readonly string[]> {
  const all = await readdir(dataDir, { recursive: true });
  return all.filter((path) => basename(dirname(path)) === 'results');
}

/** Files of results that no row names: nobody would ever remove them. */
function leftOver(files: readonly string[], rows: readonly Row[]): readonly string[] {
  const named = new Set(rows.map(({ resultFile }) => resultFile));
  return files.filter((path) => !named.has(basename(path))).map((path) => `${path} belongs to no row`);
}
