import { defineVectorDriver, type UpsertError, type VectorClient } from '../../src/driver.ts';
import { fakeVector } from '../server/fake-drivers.ts';

/** What a test puts between a connector and its backend; a method that is absent is the backend's own. */
export type Script = Partial<Pick<VectorClient, 'upsert' | 'list' | 'search' | 'fetch'>>;

/** A backend that keeps its records while the registry is open, and does what a test's script says. */
export function breakable(): {
  readonly driver: typeof fakeVector;
  script: (client: VectorClient) => Script;
} {
  const made = {
    script: (_client: VectorClient): Script => ({}),
    driver: defineVectorDriver({
      ...fakeVector,
      id: 'breakable',
      open: async (options, context) => {
        const client = await fakeVector.open(options, context);
        const scripted = (): VectorClient => ({ ...client, ...made.script(client) });
        return {
          ...client,
          upsert: (records, signal) => scripted().upsert(records, signal),
          list: (page, signal) => scripted().list(page, signal),
          search: (vector, query, signal) => scripted().search(vector, query, signal),
          fetch: (ids, signal) => scripted().fetch(ids, signal),
        };
      },
    }),
  };
  return made;
}

/** A record as a backend refuses it. */
export function refusal(index: number, id: string): UpsertError {
  return { index, id, code: 'backend_error', message: 'no room' };
}
