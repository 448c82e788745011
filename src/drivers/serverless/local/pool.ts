import { cancelled, ConnectorError, type Clock } from '../../../driver.ts';
import { RUNTIME_MB, type Launch, type Runtime } from './deno.ts';
import { Sandbox } from './sandbox.ts';
import { Watchdog, type Watched } from './watchdog.ts';

export type PoolLimits = {
  /** Processes of all tenants at once. */
  readonly processes: number;
  readonly processesOfTenant: number;
  /** After this time without work a process ends, in milliseconds. */
  readonly idleMs: number;
  /** Time within which a process must be ready, in milliseconds. */
  readonly startMs: number;
};

/** What a process is wanted for. */
export type Want = {
  readonly tenant: string;
  /** The connector; its processes end with it. */
  readonly owner: string;
  /** Names the function's very bundle: a process never serves another. */
  readonly key: string;
  readonly launch: Launch;
};

/** A process in the pool. One that has served nothing yet has no key. */
export type Member = {
  readonly sandbox: Sandbox;
  readonly tenant: string;
  readonly launchKey: string;
  readonly watched: Watched;
  /** Resolves when the process is ready. @throws ConnectorError `unavailable` when it does not start. */
  readonly ready: Promise<void>;
  owner: string | undefined;
  key: string | undefined;
  isLoaded: boolean;
  /** Ends the idle time; absent while the process works. */
  stopIdle: (() => void) | undefined;
};
type Waiter = { readonly want: Want; readonly give: (member: Member) => void };

/**
 * The processes of all tenants on this machine.
 *
 * A process that served a function waits for that function's next call. One spare process of a tenant has served
 * nothing and is taken by whichever of the tenant's functions comes next. At a ceiling, the process that has been idle
 * longest ends; where none is idle, the call waits its turn.
 */
export class SandboxPool {
  readonly #runtime: Runtime;
  readonly #maxResultBytes: number;
  readonly #limits: PoolLimits;
  readonly #clock: Clock;
  readonly #watchdog = new Watchdog();
  /** In the order in which they became idle. */
  readonly #members = new Set<Member>();
  readonly #waiters: Waiter[] = [];

  constructor(runtime: Runtime, maxResultBytes: number, limits: PoolLimits, clock: Clock) {
    this.#runtime = runtime;
    this.#maxResultBytes = maxResultBytes;
    this.#limits = limits;
    this.#clock = clock;
  }

  get size(): number {
    return this.#members.size;
  }

  /** A process for one invocation; give it back with {@link release}. @throws ConnectorError `cancelled`. */
  async acquire(want: Want, signal: AbortSignal): Promise<Member> {
    if (signal.aborted) throw cancelled(signal);
    return this.#take(want) ?? this.#wait(want, signal);
  }

  /** Takes a process back, or notes that it has ended, and sees to the tenant's spare. */
  release(member: Member, launch: Launch): void {
    if (member.sandbox.alive) this.#rest(member);
    this.#serveWaiters();
    this.prewarm(member.tenant, launch);
  }

  /** Starts the tenant's spare process, unless it has one or the machine is half full. */
  prewarm(tenant: string, launch: Launch): void {
    const own = [...this.#members].filter((member) => member.tenant === tenant);
    if (own.some((member) => member.key === undefined) || own.length >= this.#limits.processesOfTenant)
      return;
    if (this.#members.size >= this.#limits.processes / 2) return;
    this.#rest(this.#start(tenant, launch));
  }

  /** Ends the idle processes that the predicate picks. */
  retire(isDone: (member: Member) => boolean): void {
    for (const member of this.#members) {
      if (member.stopIdle !== undefined && isDone(member)) this.#end(member);
    }
  }

  #take(want: Want): Member | undefined {
    const found = this.#warm(want.key) ?? this.#fresh(want);
    if (!found) return undefined;
    found.stopIdle?.();
    found.stopIdle = undefined;
    found.key = want.key;
    found.owner = want.owner;
    return found;
  }

  /** The process that served the function last. */
  #warm(key: string): Member | undefined {
    let last: Member | undefined;
    for (const member of this.#members) {
      if (member.key === key && isIdle(member)) last = member;
    }
    return last;
  }

  /** The tenant's spare, or a new process, in the place of an idle one where a ceiling is reached. */
  #fresh({ tenant, launch }: Want): Member | undefined {
    const own = [...this.#members].filter((member) => member.tenant === tenant);
    const launchKey = JSON.stringify(launch);
    const spare = own.find(
      (member) => isIdle(member) && member.key === undefined && member.launchKey === launchKey,
    );
    if (spare) return spare;
    const isTenantFull = own.length >= this.#limits.processesOfTenant;
    if (isTenantFull || this.#members.size >= this.#limits.processes) {
      const oldest = isTenantFull ? own.find(isIdle) : [...this.#members].find(isIdle);
      if (!oldest) return undefined;
      this.#end(oldest);
    }
    return this.#start(tenant, launch);
  }

  #start(tenant: string, launch: Launch): Member {
    const sandbox = new Sandbox(this.#runtime, launch, this.#maxResultBytes, () => this.#forget(member));
    const late = this.#clock.inBackground(this.#limits.startMs, () => sandbox.kill('timeout'));
    const ready = sandbox.ask().then((answer) => {
      late();
      if (answer.kind !== 'ended') return;
      const message =
        `the function runtime did not start: ${answer.detail} ${sandbox.takeLogs() ?? ''}`.slice(0, 300);
      throw new ConnectorError('unavailable', message.trim());
    });
    // A spare that fails before anybody takes it has nobody to tell.
    ready.catch(() => {});
    const member: Member = {
      sandbox,
      tenant,
      launchKey: JSON.stringify(launch),
      ready,
      owner: undefined,
      key: undefined,
      isLoaded: false,
      stopIdle: undefined,
      watched: {
        pid: sandbox.pid,
        maxBytes: (launch.memoryMb + RUNTIME_MB) * 2 ** 20,
        isIdle: () => member.stopIdle !== undefined,
        exceeded: (what) => (what === 'idle' ? this.#end(member) : sandbox.kill(what)),
      },
    };
    this.#members.add(member);
    this.#watchdog.add(member.watched);
    return member;
  }

  #rest(member: Member): void {
    member.stopIdle = this.#clock.inBackground(this.#limits.idleMs, () => this.#end(member));
    this.#members.delete(member);
    this.#members.add(member);
  }

  #end(member: Member): void {
    member.sandbox.kill('closed');
    this.#forget(member);
  }

  #forget(member: Member): void {
    member.stopIdle?.();
    member.stopIdle = undefined;
    this.#watchdog.remove(member.watched);
    if (this.#members.delete(member)) this.#serveWaiters();
  }

  #wait(want: Want, signal: AbortSignal): Promise<Member> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        want,
        give(member) {
          signal.removeEventListener('abort', onAbort);
          resolve(member);
        },
      };
      const onAbort = () => {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        reject(cancelled(signal));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiters.push(waiter);
    });
  }

  /** In the order of arrival; one whose tenant is at its ceiling does not hold up the others. */
  #serveWaiters(): void {
    for (const waiter of [...this.#waiters]) {
      const member = this.#take(waiter.want);
      if (!member) continue;
      this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
      waiter.give(member);
    }
  }
}

function isIdle({ stopIdle, sandbox }: Member): boolean {
  return stopIdle !== undefined && sandbox.alive;
}
