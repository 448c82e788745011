import { setTimeout as wait } from 'node:timers/promises';
import type { Answer } from './calls.ts';
import type { Cluster } from './cluster.ts';
import { functionsBody } from './functions.ts';
import { isLinearizable, type Observed } from './linearizable.ts';
import { isSame, type Known, listedState, type State, stateOf } from './owned-connector.ts';
import type { Random } from './random.ts';

const CALLERS = 8;
const OPERATIONS = 200;
/** Histories that are made at the same time. */
const AT_ONCE = 4;
const AGAIN_MS = 50;
/** Of a history that is wrong, what ended so long before that showed. */
const SHOWN_MS = 1_000;

/**
 * Several callers write one name over all servers, with and without luck: creates, reads of the store (`list`), changes and
 * deletes. For each name there is one order in which every answer is right.
 *
 * `get` is left out: it may be up to a second old on a server that did not make the change.
 */
export async function checkHistories(
  cluster: Cluster,
  random: Random,
  count: number,
  run: string,
): Promise<string> {
  let [made, unheard] = [0, 0];
  for (let from = 0; from < count; from += AT_ONCE) {
    const names = Array.from(
      { length: Math.min(AT_ONCE, count - from) },
      (_, at) => `${run}-history-${from + at}`,
    );
    // Checking took a while, in which servers may have closed idle connections: that is noticed first.
    await wait(AGAIN_MS);
    const histories = await Promise.all(names.map((name) => record(cluster, random.fork(name), name)));
    for (const [at, history] of histories.entries()) {
      made += history.length;
      unheard += history.filter(({ endMs }) => endMs === Number.POSITIVE_INFINITY).length;
      if (!isLinearizable<State>(history, null))
        cluster.faults.push(
          `${names[at]} has no order in which every answer is right:\n${textOf(shortestWrong(history))}`,
        );
    }
  }
  return `${count} histories of ${made} calls by ${CALLERS} callers, ${unheard} of them unheard: all linearizable`;
}

async function record(cluster: Cluster, random: Random, name: string): Promise<readonly Observed<State>[]> {
  const history: Observed<State>[] = [];
  /** Ids of those that were made without being heard of, by their number: whoever saw them knows. */
  const ids = new Map<number, string>();
  let n = 0;
  const caller = async (random: Random): Promise<void> => {
    let known: State = null;
    while (history.length < OPERATIONS) {
      const way = random.next();
      const server = cluster.pick(random);
      const ask = async (text: string, answerOf: () => Promise<Answer | undefined>) => {
        const startMs = performance.now();
        const answer = await answerOf();
        const isHeard = answer !== undefined && answer.status < 500;
        if (!isHeard) await wait(AGAIN_MS);
        const add = (apply: Observed<State>['apply'], saw?: State) =>
          history.push({
            startMs,
            endMs: isHeard ? performance.now() : Number.POSITIVE_INFINITY,
            apply,
            text: `${server.name}: ${text}: ${isHeard ? answer.status : 'unheard'}${saw === undefined ? '' : ` ${JSON.stringify(saw)}`}`,
          });
        return { answer: isHeard ? answer : undefined, add };
      };
      if (way < 0.35 || (known === null && way < 0.6)) {
        const { answer, add } = await ask('list', () =>
          cluster.calls.ask(server, 'GET', `/connectors?name=${name}`),
        );
        if (!answer) continue;
        const read = listedState(answer);
        if (read) ids.set(read.n, read.id);
        known = read;
        add((state) => (isSame(state, read) ? state : undefined), read);
      } else if (known === null) {
        const mine = (n += 1);
        const { answer, add } = await ask(`create ${mine}`, () =>
          cluster.calls.ask(server, 'POST', '/connectors', {
            body: functionsBody(cluster, name, { metadata: { n: mine } }),
          }),
        );
        // Not found: it was made, and another caller had removed it before this one was answered.
        if (!answer || answer.status === 201 || answer.status === 404) {
          const made = answer?.status === 201 ? stateOf(answer.body) : null;
          known = made;
          if (made) ids.set(mine, made.id);
          add(
            (state) =>
              state === null ? { id: ids.get(mine) ?? `of ${mine}`, version: 1, n: mine } : undefined,
            made ?? undefined,
          );
        } else add((state) => (answer.status === 409 && state !== null ? state : undefined));
      } else if (way < 0.85) {
        const { id, version }: Known = known;
        const mine = (n += 1);
        const { answer, add } = await ask(`set ${mine} at ${version} of ${id}`, () =>
          cluster.calls.ask(server, 'PATCH', `/connectors/${id}`, {
            body: { metadata: { n: mine }, version },
          }),
        );
        if (!answer || answer.status === 200) {
          known = answer ? stateOf(answer.body) : null;
          ids.set(mine, id);
          add((state) =>
            state?.id === id && state.version === version ? { id, version: version + 1, n: mine } : undefined,
          );
        } else {
          known = null;
          add((state) => {
            if (answer.status === 412)
              return state?.id === id && state.version !== version ? state : undefined;
            return answer.status === 404 && state?.id !== id ? state : undefined;
          });
        }
      } else {
        const { id }: Known = known;
        const { answer, add } = await ask(`delete ${id}`, () =>
          cluster.calls.ask(server, 'DELETE', `/connectors/${id}`),
        );
        known = null;
        if (!answer || answer.status === 200) add((state) => (state?.id === id ? null : undefined));
        else add((state) => (answer.status === 404 && state?.id !== id ? state : undefined));
      }
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, at) => caller(random.fork(`caller ${at}`))));
  return history;
}

/**
 * What was seen about the first moment at which it cannot be right. A star is before calls that alone make it wrong: without
 * any one of them there is an order.
 */
function shortestWrong(history: readonly Observed<State>[]): readonly Observed<State>[] {
  const until = (atMs: number) =>
    history
      .filter(({ startMs }) => startMs <= atMs)
      .map((call) => (call.endMs <= atMs ? call : { ...call, endMs: Number.POSITIVE_INFINITY }));
  const ends = history
    .map(({ endMs }) => endMs)
    .filter((endMs) => endMs !== Number.POSITIVE_INFINITY)
    .toSorted((a, b) => a - b);
  const firstMs = ends.find((atMs) => !isLinearizable<State>(until(atMs), null)) ?? Number.POSITIVE_INFINITY;
  const wrong = until(firstMs);
  return history
    .filter(({ startMs, endMs }) => startMs <= firstMs && endMs > firstMs - SHOWN_MS)
    .map((call) => {
      const others = wrong.filter(({ startMs, text }) => startMs !== call.startMs || text !== call.text);
      return isLinearizable<State>(others, null) ? { ...call, text: `* ${call.text}` } : call;
    });
}

function textOf(history: readonly Observed<State>[]): string {
  return history
    .toSorted((a, b) => a.startMs - b.startMs)
    .map(({ startMs, endMs, text }) => `  ${startMs.toFixed(1)} to ${endMs.toFixed(1)} ${text}`)
    .join('\n');
}
