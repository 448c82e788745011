import { randomBytes } from 'node:crypto';
import { cancelled, type Clock, sleep } from '../contract/clock.ts';
import type { Log } from '../contract/driver.ts';
import { ConnectorError, isConnectorError } from '../errors/error.ts';
import type { Cipher } from '../secrets/cipher.ts';
import { removeKeyFile } from '../secrets/key-file.ts';
import { type KeyRing, keyRing, makeKeyRing, MASTER_KEY_VARIABLE, readKeyRing } from '../secrets/key-ring.ts';
import type { Server } from '../store/peers.ts';
import { MASTER_KEY_FACT, type SecretPosition, type Store } from '../store/store.ts';
import { sealedSecret } from './options.ts';

/** Credentials of one transaction: writers of the same database wait for no more than these. */
const BATCH = 100;
/** Connectors that are named among those whose credentials do not open. */
const MAX_NAMED = 100;
/** How long a server may take to say that it serves, after the database was away. */
const SILENT_MS = 15_000;
/** How often is looked whether it does. */
const LOOK_MS = 1_000;

/** One master key, and who has it and needs it. */
export type KeyUse = {
  readonly keyId: string;
  /** Whether this process seals with it. */
  readonly isCurrent: boolean;
  /** How many stored credentials it sealed. */
  readonly credentials: number;
  /** Servers that seal with it; none is known where the database is not shared. */
  readonly currentOn: readonly string[];
  /** Servers that cannot open what it sealed. */
  readonly missingOn: readonly string[];
};

/** Where a rotation is: what it goes on after, and how much it had left there. */
export type RotationPosition = {
  readonly connectorId: string;
  readonly tenantId: string;
  readonly field: string;
  readonly left: number;
};

/** What one step of a rotation did. */
export type Rotation = {
  /** The key that credentials are sealed with from now on. */
  readonly keyId: string;
  readonly resealed: number;
  /** Credentials that another key sealed, by now; counted at the start and the end, reckoned in between. */
  readonly remaining: number;
  /** Credentials that do not open and were left as they are. */
  readonly unreadable: number;
  /** Connectors that they are of, 100 at most. */
  readonly unreadableConnectors: readonly string[];
  /** What to go on after; undefined where the walk is at its end. */
  readonly next: RotationPosition | undefined;
};

export type KeyringParts = {
  readonly store: Store;
  readonly ring: KeyRing;
  readonly cipher: Cipher;
  readonly clock: Clock;
  readonly log: Log;
};

/** The master keys of the registry: which there are, and the way from one to another while all servers serve. */
export class Keyring {
  readonly #store: Store;
  readonly #ring: KeyRing;
  readonly #cipher: Cipher;
  readonly #clock: Clock;
  readonly #log: Log;

  constructor({ store, ring, cipher, clock, log }: KeyringParts) {
    this.#store = store;
    this.#ring = ring;
    this.#cipher = cipher;
    this.#clock = clock;
    this.#log = log;
  }

  /** Every key of this process, of other servers and of stored credentials; the current one first. */
  async list(): Promise<readonly KeyUse[]> {
    const [counts, servers] = [
      await this.#store.countSecretsByKey(),
      (await this.#store.peers?.servers()) ?? [],
    ];
    const used = new Map(counts.map(({ keyId, secrets }) => [keyId, secrets]));
    const ids = new Set([
      ...this.#ring.ids,
      ...servers.flatMap(({ keyIds }) => keyIds),
      ...counts.map(({ keyId }) => keyId),
    ]);
    return [...ids].map((keyId) => ({
      keyId,
      isCurrent: keyId === this.#ring.current.id,
      credentials: used.get(keyId) ?? 0,
      currentOn: servers.filter(({ keyIds }) => keyIds[0] === keyId).map(({ serverId }) => serverId),
      missingOn: servers.filter(({ keyIds }) => !keyIds.includes(keyId)).map(({ serverId }) => serverId),
    }));
  }

  /**
   * Seals credentials of all tenants anew that another key than the current one sealed, `limit` at most. Calls at the same
   * time share the work; one that is cut off leaves every credential as it was or sealed anew.
   *
   * @throws ConnectorError `invalid_state` naming a server that has not the current key, or seals with another.
   */
  async rotate({
    limit,
    after,
    signal,
  }: {
    readonly limit: number;
    readonly after?: RotationPosition | undefined;
    readonly signal?: AbortSignal | undefined;
  }): Promise<Rotation> {
    const keyId = this.#ring.current.id;
    await this.#checkServers();
    // A server that starts from now on must have this key, whatever key the last one to start had.
    await belongTo(keyId, this.#store);
    const before = after?.left ?? (await this.#countOthers());
    let resealed = 0;
    let seen = 0;
    let next: SecretPosition | undefined = after;
    const failed = new Map<string, number>();
    do {
      if (signal?.aborted) throw cancelled(signal);
      const page = await this.#store.resealSecrets(
        { keyId, after: next, limit: Math.min(BATCH, limit - resealed) },
        ({ field, sealed, ...place }) =>
          sealedSecret(field, this.#cipher.reseal(sealed, { ...place, field })),
      );
      resealed += page.resealed;
      seen += page.resealed + page.failed.length;
      for (const { connectorId, field, error } of page.failed) {
        failed.set(connectorId, (failed.get(connectorId) ?? 0) + 1);
        this.#log.error('a credential does not open and was not sealed anew', {
          connectorId,
          field,
          error: String(error),
        });
      }
      next = page.next;
    } while (next && resealed < limit && seen < 2 * limit);
    const remaining = next ? Math.max(0, before - resealed) : await this.#countOthers();
    return {
      keyId,
      resealed,
      remaining,
      unreadable: [...failed.values()].reduce((sum, count) => sum + count, 0),
      unreadableConnectors: [...failed.keys()].slice(0, MAX_NAMED),
      next: next && { ...next, left: remaining },
    };
  }

  async #countOthers(): Promise<number> {
    const others = (await this.#store.countSecretsByKey()).filter(
      ({ keyId }) => keyId !== this.#ring.current.id,
    );
    return others.reduce((sum, { secrets }) => sum + secrets, 0);
  }

  async #checkServers(): Promise<void> {
    const { id } = this.#ring.current;
    await checkServers(this.#store, this.#clock, (server) => {
      const [theirs] = server.keyIds;
      if (!server.keyIds.includes(id)) return lacking(server, id);
      if (theirs === id) return undefined;
      const message = `server ${server.serverId} seals with master key ${theirs} and not with ${id}; make ${id} the first of its keys and start it again (one that was killed is counted for 15 s)`;
      return refused(server, id, message);
    });
  }
}

/**
 * The key ring of the environment or the data directory, which has every key that the store needs. Where the store needs
 * none yet, a fresh one: of those who start on an empty store at once, the first one's key is the store's.
 *
 * @throws ConnectorError `invalid_state` naming a key that is missing; nothing is made then.
 */
export async function openKeyring(
  store: Store,
  {
    file,
    env,
  }: {
    /** Of the data directory; undefined where there is none. */
    readonly file: string | undefined;
    readonly env: Readonly<Record<string, string | undefined>>;
  },
): Promise<KeyRing> {
  const known = await readKeyRing({ env, file });
  if (known) {
    await claim(known, store);
    return known;
  }
  if (file === undefined && store.peers)
    throw new ConnectorError(
      'invalid_state',
      `there is no master key: without a data directory a registry on a database of PostgreSQL needs ${MASTER_KEY_VARIABLE}`,
    );
  const needed = await keyIdsOf(store, await store.getFact(MASTER_KEY_FACT));
  if (needed.length > 0)
    throw new ConnectorError(
      'invalid_state',
      `the registry belongs to master key ${needed.join(', ')}, and there is no master key file ${file}; set ${MASTER_KEY_VARIABLE} or put the file of another server, or a copy of the lost one, there`,
      { details: { missingKeyIds: needed } },
    );
  if (file === undefined) {
    const ring = keyRing([randomBytes(32).toString('base64')], 'memory');
    await claim(ring, store);
    return ring;
  }
  const { ring, isNew } = await makeKeyRing(file);
  try {
    await claim(ring, store);
    return ring;
  } catch (error) {
    // Another server was first. Its key is wanted here, and this one must not be in its way.
    if (isNew && isConnectorError(error) && error.code === 'invalid_state') await removeKeyFile(file);
    throw error;
  }
}

/**
 * Makes the current key of a server that joined the others the one that the next to start must have.
 *
 * @throws ConnectorError `invalid_state` where a server cannot open what this one would seal, or the other way round; and
 *   naming a key of stored credentials that is missing.
 */
export async function adoptKeyring(ring: KeyRing, store: Store, clock: Clock): Promise<void> {
  await checkServers(store, clock, (server) => {
    const [theirs] = server.keyIds;
    if (!server.keyIds.includes(ring.current.id)) return lacking(server, ring.current.id);
    if (theirs === undefined || ring.has(theirs)) return undefined;
    const message = `server ${server.serverId} seals with master key ${theirs}, which is not in the key ring here; add it`;
    return refused(server, theirs, message);
  });
  // One that came and went since the keys in use were looked at may have sealed with another.
  if (store.peers) for (const id of await store.listKeyIdsInUse()) ring.get(id);
  await belongTo(ring.current.id, store);
}

async function belongTo(keyId: string, store: Store): Promise<void> {
  if ((await store.getFact(MASTER_KEY_FACT)) !== keyId) await store.setFact(MASTER_KEY_FACT, keyId);
}

/** A wrong key must not be found out call by call. */
async function claim(ring: KeyRing, store: Store): Promise<void> {
  const first = await store.claimFact(MASTER_KEY_FACT, ring.current.id);
  for (const id of await keyIdsOf(store, first)) ring.get(id);
}

/** What sealed the stored credentials; where nothing is sealed yet, the key that the store belongs to all the same. */
async function keyIdsOf(store: Store, first: string | undefined): Promise<readonly string[]> {
  const inUse = await store.listKeyIdsInUse();
  if (inUse.length > 0 || first === undefined) return inUse;
  return [first];
}

/** @throws ConnectorError what `refusal` says of a server that serves. */
async function checkServers(
  { peers }: Store,
  clock: Clock,
  refusal: (server: Server) => ConnectorError | undefined,
): Promise<void> {
  if (!peers) return;
  const untilMs = clock.monotonicMs() + SILENT_MS;
  for (;;) {
    // Before those that serve: one that is back between the two is among these.
    const silent = await peers.silent();
    for (const server of await peers.servers()) {
      const error = refusal(server);
      if (error) throw error;
    }
    // After an outage servers are back one by one. One that would be refused is waited for as long as it may take.
    if (!silent.some(refusal) || clock.monotonicMs() >= untilMs) return;
    await sleep(clock, LOOK_MS);
  }
}

function lacking(server: Server, keyId: string): ConnectorError {
  const message = `server ${server.serverId} has no master key ${keyId}, which is current here; add it to its keys first (one that was killed is counted for 15 s)`;
  return refused(server, keyId, message);
}

function refused({ serverId }: Server, keyId: string, message: string): ConnectorError {
  return new ConnectorError('invalid_state', message, { details: { serverId, keyId } });
}
