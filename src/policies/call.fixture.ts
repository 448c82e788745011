import { NEVER, type Call } from './pipeline.ts';

/** A call that is safe to repeat and that nobody ends, unless the test says otherwise. */
export function testCall(part: Partial<Call> = {}): Call {
  return {
    operation: 'vector.search',
    idempotent: true,
    attempt: 1,
    signal: NEVER,
    progress: () => {},
    ...part,
  };
}
