import { describe, expect, it } from 'vitest';
import { BaseConnector } from '../connectors/base.ts';
import { Instances } from './instances.ts';

class Plain extends BaseConnector {
  override async connect(): Promise<void> {}
  override async disconnect(): Promise<void> {}
  override async healthCheck() {
    return { ok: true, stages: [] };
  }
}

function plain(connectorId: string): BaseConnector {
  return new Plain({
    connectorId,
    tenantId: 'acme',
    name: connectorId,
    connectorType: 'custom',
    provider: 'own',
  });
}

describe('Instances', () => {
  it('answers the same object while somebody holds it, although its place was given away', () => {
    const instances = new Instances<BaseConnector>(4);
    const held = plain('held');
    instances.add('held', held);
    for (let n = 0; n < 100; n++) instances.add(`other-${n}`, plain(`other-${n}`));
    expect(instances.get('held')).toBe(held);
  });

  it('knows nothing of what was deleted', () => {
    const instances = new Instances<BaseConnector>(4);
    instances.add('a', plain('a'));
    instances.delete('a');
    expect(instances.get('a')).toBeUndefined();
    expect([...instances.values()]).toEqual([]);
  });
});
