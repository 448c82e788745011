import { expect, it } from 'vitest';
import { BaseConnector } from '../connectors/base.ts';
import type { Store } from '../store/store.ts';
import { testClock } from '../testing/clock.ts';
import { ActivityWriter } from './activity.ts';
import { silentLog } from './log.ts';

class Plain extends BaseConnector {
  override async connect(): Promise<void> {}
  override async disconnect(): Promise<void> {}
  override async healthCheck() {
    return { ok: true, stages: [] };
  }
}

it('stores once what happens while earlier figures are stored', async () => {
  const failure = new Error('it failed');
  const stored = new Map<string, number>();
  const connectors = Array.from(
    { length: 101 },
    (_, i) => new Plain({ tenantId: 'acme', name: `n${i}`, connectorType: 'vector', provider: 'plain' }),
  );
  const [first, last] = [connectors[0], connectors[100]];
  const saveActivity: Store['saveActivity'] = async (changes) => {
    // Before the last ones have had their turn.
    if (stored.size === 0) last?.recordFailure(failure);
    for (const { connectorId, since } of changes)
      stored.set(connectorId, (stored.get(connectorId) ?? 0) + since.errors);
    return changes.map(({ tenantId, connectorId, activity }) => ({ tenantId, connectorId, activity }));
  };
  const writer = new ActivityWriter({
    store: { saveActivity },
    clock: testClock(),
    log: silentLog,
    emit: () => {},
  });
  for (const connector of connectors) {
    connector.attach({
      policy: (next) => next,
      changed: (one, before) => writer.note(one, before),
      now: () => new Date(0),
    });
    connector.recordFailure(failure);
  }
  await writer.flush();
  await writer.flush();
  expect(stored.get(last?.connectorId ?? '')).toBe(2);
  expect(stored.get(first?.connectorId ?? '')).toBe(1);
  expect(last?.errorCount).toBe(2);
});
