import { hostname } from 'node:os';
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import type { Client, Notification } from 'pg';
import type { RateLimitCounters } from '../contract/counters.ts';
import type { Change, Peers, Removed, Server } from './peers.ts';
import type { Database } from './schema.ts';

/** How often a process makes sure that it has heard of everything. */
const LOOK_MS = 250;
/** What was made sure of so long ago is not relied on. */
const CURRENT_MS = 1_000;
/** Between two attempts to listen where nothing is heard. */
const LISTEN_AGAIN_MS = 30_000;
/** How often a process says that it serves. */
const BEAT_MS = 5_000;
/** One that has not said so for so long is gone. */
const GONE_MS = 15_000;
/** How long a connection that listens may take to answer, in milliseconds. */
export const ANSWER_MS = 1_000;
/** By how much the time may move at each beat, so that it follows the database's clock and never jumps. */
const SLEW_MS = 50;

/** Connectors that one transaction disconnects, at most. */
const ENDED_AT_ONCE = 500;

const CHANNEL = 'connector_registry';

export type PostgresPeersParts = {
  /** What an administrator's code path runs on. */
  readonly writer: (tenantId: string | null) => Database;
  /** A connection of its own that listens, not yet connected. */
  readonly newListener: () => Client;
  readonly counters: RateLimitCounters;
};

/**
 * The processes that share a database.
 *
 * Triggers notify of what changed, in the transaction that changes it. A connection that listens hears of it at once,
 * and is asked four times a second whether it still answers: what was notified before has arrived by then. While there
 * is none, each look says that anything may have changed.
 */
export class PostgresPeers implements Peers {
  /** A name that no other process has, and that says to people where this one runs. */
  readonly serverId = `${hostname()}-${process.pid}-${randomBytes(4).toString('hex')}`;
  readonly counters: RateLimitCounters;
  readonly #parts: PostgresPeersParts;
  readonly #closing = new AbortController();
  #count = 1;
  #zeroMs: number | undefined;
  #currentSinceMs = Number.NEGATIVE_INFINITY;
  #heed: ((change: Change) => Promise<void>) | undefined;
  #heard = nothing();
  #heeding: Promise<void> = Promise.resolve();
  #listener: Client | undefined;
  #listening: Promise<void> | undefined;
  #looking: Promise<void> = Promise.resolve();
  #beating: Promise<void> = Promise.resolve();
  #self: Pick<Server, 'keyIds'> | undefined;
  /** Since when it says without a gap that it serves. */
  #servingSinceMs = 0;

  constructor(parts: PostgresPeersParts) {
    this.#parts = parts;
    this.counters = parts.counters;
  }

  get count(): number {
    return this.#count;
  }

  async join(self: Pick<Server, 'keyIds'>): Promise<void> {
    this.#self = self;
    await this.#beat();
    this.#beating = this.#every(BEAT_MS, () => this.#beat());
  }

  async servers(): Promise<readonly Server[]> {
    const { rows } = await SERVING.execute(this.#all);
    return rows.map(server);
  }

  async silent(): Promise<readonly Server[]> {
    const { rows } = await SILENT.execute(this.#all);
    return rows.map(server);
  }

  async watch(listener: (change: Change) => Promise<void>): Promise<void> {
    this.#heed = listener;
    await this.#look();
    this.#looking = this.#every(LOOK_MS, () => this.#look());
  }

  isCurrent(): boolean {
    return performance.now() - this.#currentSinceMs < CURRENT_MS;
  }

  now(): number {
    return Math.round((this.#zeroMs ?? performance.timeOrigin) + performance.now());
  }

  /** Asks the database for its time. Called once before `now` is. */
  async readClock(): Promise<void> {
    const startMs = performance.now();
    const { rows } = await sql<{ now: number }>`select ${DATABASE_NOW} as now`.execute(this.#all);
    const zeroMs = (rows[0]?.now ?? 0) - (startMs + performance.now()) / 2;
    const off = this.#zeroMs === undefined ? 0 : zeroMs - this.#zeroMs;
    this.#zeroMs = (this.#zeroMs ?? zeroMs) + Math.max(-SLEW_MS, Math.min(SLEW_MS, off));
  }

  async claimHome(tenantId: string, connectorId: string, home: string): Promise<string> {
    const db = this.#parts.writer(tenantId);
    await db
      .insertInto('homes')
      .values({ connector_id: connectorId, tenant_id: tenantId, home })
      .onConflict((conflict) => conflict.column('connector_id').doNothing())
      .execute();
    const row = await db
      .selectFrom('homes')
      .select('home')
      .where('connector_id', '=', connectorId)
      .where('tenant_id', '=', tenantId)
      .executeTakeFirst();
    return row?.home ?? home;
  }

  /** Leaves the others: what this process had connected is disconnected. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#drop();
    await Promise.all([this.#looking, this.#beating, this.#heeding, this.#listening]);
    if (this.#self) await this.#remove([this.serverId]).catch(() => {});
  }

  get #all(): Database {
    return this.#parts.writer(null);
  }

  /** Again and again, until the end; what fails is tried again the next time. */
  async #every(ms: number, task: () => Promise<void>): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await delay(ms, undefined, { ref: false, signal }).catch(() => {});
      if (!signal.aborted) await task().catch(() => {});
    }
  }

  async #look(): Promise<void> {
    const startMs = performance.now();
    await this.#listener?.query('select 1').catch(() => this.#drop());
    if (!this.#listener) {
      this.#listening ??= this.#listen()
        .catch(() => {})
        .finally(() => (this.#listening = undefined));
      // Comparing everything costs more than asking whether a connection still answers.
      if (startMs - this.#currentSinceMs < CURRENT_MS / 2) return;
      // Whoever is told has nothing to ask where there is nothing to compare.
      await sql`select 1`.execute(this.#all);
      this.#heard.all = true;
      this.#heard.keys = true;
    }
    await this.#tell();
    this.#currentSinceMs = startMs;
  }

  async #listen(): Promise<void> {
    const listener = this.#parts.newListener();
    let isHeard = false;
    listener.on('error', () => this.#drop(listener));
    listener.on('end', () => this.#drop(listener));
    listener.on('notification', (notification) => {
      isHeard ||= notification.payload === this.serverId;
      this.#hear(notification);
    });
    try {
      await listener.connect();
      await listener.query(`listen ${CHANNEL}`);
      await listener.query('select pg_notify($1, $2)', [CHANNEL, this.serverId]);
      // A pooler hands on what is notified of while it gives this connection to a statement, and nothing else.
      const { rows } = await listener.query<{ pid: number }>('select pg_backend_pid() as pid');
      const isDirect = rows[0]?.pid === (listener as unknown as Greeted).processID;
      const { signal } = this.#closing;
      if (isHeard && isDirect && !signal.aborted) {
        this.#listener = listener;
        // What was notified of before it listened was not heard.
        this.#heard.all = true;
        this.#heard.keys = true;
      }
      // Where nothing is heard, or not for sure, looking has to do.
      else await delay(LISTEN_AGAIN_MS, undefined, { ref: false, signal });
    } finally {
      if (this.#listener !== listener) void listener.end().catch(() => {});
    }
  }

  #drop(listener = this.#listener): void {
    if (listener === this.#listener) this.#listener = undefined;
    void listener?.end().catch(() => {});
  }

  #hear({ payload = '' }: Notification): void {
    // Of its own changes, too: of one whose answer was lost it knows no more than the others.
    const change = changeOf(payload);
    if (!change) return;
    const { connectorIds, removed, keys } = change;
    if (connectorIds === 'all') this.#heard.all = true;
    else for (const id of connectorIds) this.#heard.ids.add(id);
    for (const one of removed) this.#heard.removed.set(one.connectorId, one);
    this.#heard.keys ||= keys;
    void this.#tell().catch(() => {});
  }

  /** Resolves when everything that was heard so far is heeded. @throws what the listener threw; it is told again then. */
  #tell(): Promise<void> {
    const told = this.#heeding.then(async () => {
      const { ids, removed, all, keys } = this.#heard;
      if (ids.size === 0 && !all && !keys) return;
      this.#heard = nothing();
      try {
        await this.#heed?.({ connectorIds: all ? 'all' : [...ids], removed: [...removed.values()], keys });
      } catch (error) {
        this.#heard.all = true;
        for (const [id, one] of removed) this.#heard.removed.set(id, one);
        this.#heard.keys ||= keys;
        throw error;
      }
    });
    this.#heeding = told.catch(() => {});
    return told;
  }

  async #beat(): Promise<void> {
    const startMs = performance.now();
    const { rows: known } = await sql`
      select from servers where server_id = ${this.serverId} and not ${IS_GONE}`.execute(this.#all);
    if (known.length === 0) this.#servingSinceMs = startMs;
    const columns = { key_ids: this.#self?.keyIds.join(',') ?? '', seen_at: DATABASE_NOW };
    await this.#all
      .insertInto('servers')
      .values({ server_id: this.serverId, ...columns })
      .onConflict((conflict) => conflict.column('server_id').doUpdateSet(columns))
      .execute();
    await this.readClock();
    const { rows: gone } = await sql<{ server_id: string }>`
      select server_id from servers where ${IS_GONE}
      union select server_id from connections where server_id not in (select server_id from servers)`.execute(
      this.#all,
    );
    // While this one could not say that it serves, others could not either: they are given as long to be back.
    const isSure = startMs - this.#servingSinceMs >= GONE_MS;
    if (gone.length > 0 && isSure) await this.#remove(gone.map((row) => row.server_id));
    this.#count = Math.max(1, (await this.servers()).length);
  }

  /** Ends what servers that are gone had connected, where no other has it; so many at a time, as they may have been connected for long. */
  async #remove(serverIds: readonly string[]): Promise<void> {
    let ended: readonly string[];
    do {
      ended = await this.#all.transaction().execute((db) => disconnect(db, serverIds));
    } while (ended.length === ENDED_AT_ONCE && !this.#closing.signal.aborted);
    await this.#all
      .deleteFrom('servers')
      .where('server_id', 'in', serverIds)
      // One that is back meanwhile stays.
      .where(sql<boolean>`(server_id = ${this.serverId} or ${IS_GONE})`)
      .execute();
  }
}

/** Ends what servers have connected, of some connectors, where no other has it; the ids of these. */
async function disconnect(db: Database, serverIds: readonly string[]): Promise<readonly string[]> {
  const theirs = db
    .selectFrom('connections')
    .select('connector_id')
    .distinct()
    .where('server_id', 'in', serverIds)
    .orderBy('connector_id')
    .limit(ENDED_AT_ONCE);
  // In the order in which all transactions hold connectors, and before what is below them.
  const held = await db
    .selectFrom('connectors')
    .select('connector_id')
    .where('connector_id', 'in', theirs)
    .orderBy('connector_id')
    .forNoKeyUpdate()
    .execute();
  const ids = held.map((row) => row.connector_id);
  const isHeld = sql<boolean>`connector_id = any(${ids}::text[])`;
  await db.deleteFrom('connections').where('server_id', 'in', serverIds).where(isHeld).execute();
  await db
    .updateTable('connectors')
    .set({ status: 'disconnected' })
    .where(isHeld)
    .where('status', '=', 'connected')
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('connections')
            .select('server_id')
            .whereRef('connections.connector_id', '=', 'connectors.connector_id'),
        ),
      ),
    )
    .execute();
  return ids;
}

const DATABASE_NOW = sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`;

/** One that said so later than now did so before the database's clock was set back: those that are there say so again. */
const IS_GONE = sql<boolean>`abs(${DATABASE_NOW} - seen_at) >= ${sql.lit(GONE_MS)}`;

type ServerRow = { readonly server_id: string; readonly key_ids: string };

/** The processes that serve a database now. */
export const SERVING = sql<ServerRow>`select server_id, key_ids from servers
  where not ${IS_GONE} order by server_id`;

const SILENT = sql<ServerRow>`select server_id, key_ids from servers
  where ${IS_GONE} order by server_id`;

function server({ server_id: serverId, key_ids: keyIds }: ServerRow): Server {
  return { serverId, keyIds: keyIds.split(',').filter(Boolean) };
}

/** What a connection was told at its beginning: a pooler tells of no process of the server. */
type Greeted = { readonly processID: number | null };

type Told = {
  readonly changed?: readonly string[] | 'all';
  readonly removed?: readonly (readonly [string, Removed['connectorType'], string])[] | 'all';
  readonly keys?: boolean;
};

/** What a trigger notified of; undefined for what a server told itself. */
function changeOf(payload: string): Change | undefined {
  if (!payload.startsWith('{')) return undefined;
  try {
    // The triggers write it, and whoever else may use the database: what is told leads to folders of these ids.
    const { changed = [], removed = [], keys = false } = JSON.parse(payload) as Told;
    if (changed === 'all' || removed === 'all') return { connectorIds: 'all', removed: [], keys };
    const gone = removed
      .map(([tenantId, connectorType, connectorId]) => ({ tenantId, connectorType, connectorId }))
      .filter(({ connectorId }) => /^[\w-]+$/.test(connectorId));
    return { connectorIds: [...changed, ...gone.map((one) => one.connectorId)], removed: gone, keys };
  } catch {
    return undefined;
  }
}

function nothing() {
  return { ids: new Set<string>(), removed: new Map<string, Removed>(), all: false, keys: false };
}
