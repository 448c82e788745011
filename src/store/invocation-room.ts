import { sql } from 'kysely';
import { ConnectorError } from '../errors/error.ts';
import type { Database, InvocationRow } from './schema.ts';

/** What of one tenant may wait or run at once, at most. */
export type RoomLimits = { readonly invocations: number; readonly bytes: number };

export type RoomOptions = {
  readonly limits?: RoomLimits;
  /** Others add to the same rows: what is left is counted again every five seconds. */
  readonly isShared?: boolean;
};

const LIMITS: RoomLimits = { invocations: 100_000, bytes: 2 ** 30 };
/** Between two counts, which look at every row that waits. */
const COUNT_AGAIN_MS = 5_000;

type Left = { invocations: number; bytes: number; readonly countedAt: number };
type New = Pick<InvocationRow, 'tenant_id' | 'due_at' | 'created_at' | 'request'>;

/**
 * Keeps one tenant from filling the disk of all with invocations that wait for their turn.
 *
 * Counted are those that came since, so that the rows are looked at only where it may be too many: what ended meanwhile
 * has made room that is not known of yet. Several servers may go over it together, by what each accepts in five seconds.
 */
export class InvocationRoom {
  readonly #limits: RoomLimits;
  readonly #isShared: boolean;
  readonly #left = new Map<string, Left>();
  /** One count at a time of each tenant, for all who come meanwhile. */
  readonly #counting = new Map<string, Promise<Left>>();

  constructor({ limits = LIMITS, isShared = false }: RoomOptions = {}) {
    this.#limits = limits;
    this.#isShared = isShared;
  }

  /** @throws ConnectorError `rate_limited` where there is no room for one more of its tenant. */
  async take(db: Database, { tenant_id: tenantId, due_at, created_at: now, request }: New): Promise<void> {
    if (due_at === null) return;
    const bytes = Buffer.byteLength(request);
    const fits = ({ invocations, bytes: free }: Left): boolean => invocations >= 1 && free >= bytes;
    let left = this.#left.get(tenantId) ?? (await this.#count(db, tenantId, now));
    // The date may be one before it.
    const isOld = Math.abs(now - left.countedAt) >= COUNT_AGAIN_MS;
    if (isOld && (this.#isShared || !fits(left))) left = await this.#count(db, tenantId, now);
    if (!fits(left)) throw full();
    left.invocations -= 1;
    left.bytes -= bytes;
  }

  #count(db: Database, tenantId: string, now: number): Promise<Left> {
    const known = this.#counting.get(tenantId);
    if (known) return known;
    const counting = this.#counted(db, tenantId, now).finally(() => this.#counting.delete(tenantId));
    this.#counting.set(tenantId, counting);
    return counting;
  }

  async #counted(db: Database, tenantId: string, now: number): Promise<Left> {
    // By the index on what is due of each tenant; how long a text is stands before it.
    const { rows } = await sql<RoomLimits>`
      select count(*) as invocations, coalesce(sum(octet_length(request)), 0) as bytes from invocations
      where due_at is not null and tenant_id = ${tenantId}`.execute(db);
    const { invocations = 0, bytes = 0 } = rows[0] ?? {};
    const limits = this.#limits;
    const left = {
      invocations: limits.invocations - invocations,
      bytes: limits.bytes - bytes,
      countedAt: now,
    };
    this.#left.set(tenantId, left);
    return left;
  }
}

function full(): ConnectorError {
  return new ConnectorError(
    'rate_limited',
    'too many invocations, or too much of payloads, wait for their turn',
    { retryAfterMs: COUNT_AGAIN_MS },
  );
}
