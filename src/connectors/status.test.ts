import { describe, expect, it } from 'vitest';
import { ConnectorStatus } from './kinds.ts';
import { checkStatusMove, NEXT_STATUS } from './status.ts';

const ALL = Object.values(ConnectorStatus);

describe('checkStatusMove', () => {
  it('allows exactly the moves of the table, and staying', () => {
    for (const from of ALL) {
      for (const to of ALL) {
        const legal = from === to || NEXT_STATUS[from].includes(to);
        const move = () => checkStatusMove(from, to);
        if (legal) expect(move).not.toThrow();
        else expect(move).toThrow(expect.objectContaining({ code: 'invalid_state' }));
      }
    }
  });

  it('lists the legal moves in its message', () => {
    expect(() => checkStatusMove('deprecated', 'connected')).toThrow(
      'deprecated cannot become connected; it may become disconnected',
    );
  });

  it('has no status that nothing leads to but the first one', () => {
    const reachable = new Set(Object.values(NEXT_STATUS).flat());
    expect(ALL.filter((status) => !reachable.has(status))).toEqual([]);
  });
});
