import { shown } from './calls.ts';
import type { Cluster } from './cluster.ts';
import { functionsBody } from './functions.ts';
import type { Random } from './random.ts';

const CALLERS = 8;

/** Has callers race for one name over the servers, so often; one of each gets it, and the others are told that it is taken. */
export async function raceForNames(cluster: Cluster, random: Random, rounds: number): Promise<string> {
  const { calls, servers, faults, sql } = cluster;
  const serving = servers.filter(({ isPaused }) => !isPaused);
  for (let round = 0; round < rounds; round++) {
    const name = `raced-${round}`;
    const answers = await Promise.all(
      Array.from({ length: CALLERS }, (_, at) => {
        const body = functionsBody(cluster, name, { metadata: { at } });
        return calls.ask(random.pick(serving), 'POST', '/connectors', { body });
      }),
    );
    const made = answers.filter((answer) => answer?.status === 201);
    const refused = answers.filter(
      (answer) => answer?.status === 409 && answer.body['code'] === 'already_exists',
    );
    if (made.length !== 1 || refused.length !== CALLERS - 1)
      faults.push(`${name}: ${answers.map(shown).join('; ')}`);
    const rows = (await sql(`select connector_id from connectors where name = '${name}'`)) as readonly {
      readonly connector_id: string;
    }[];
    if (rows.length !== 1 || rows[0]?.connector_id !== made[0]?.body['connector_id'])
      faults.push(`${name} has ${rows.length} rows: ${JSON.stringify(rows)}`);
  }
  return `${rounds} names, ${CALLERS} callers each: one got each`;
}
