import { randomUUID } from 'node:crypto';
import {
  cancelled,
  ConnectorError,
  isConnectorError,
  type ClientInvocation,
  type FunctionInfo,
  type FunctionLog,
  type FunctionSource,
  type InvocationOutcome,
  type JsonValue,
  type Note,
  type OpenContext,
  type ServerlessClient,
  unsent,
} from '../../../driver.ts';
import { bundle, type Bundle } from './bundle.ts';
import type { Bundles } from './bundles.ts';
import type { Launch, Runtime } from './deno.ts';
import { checkName, type FunctionFolder, type Listed, type Staged } from './folder.ts';
import type { FunctionLogs } from './logs.ts';
import { checkLoaded, outcomeOf } from './outcome.ts';
import type { Member, SandboxPool } from './pool.ts';
import type { Answer } from './sandbox.ts';

/**
 * Time within which a function that is deployed must load, in milliseconds; AWS Lambda gives its init phase as much:
 * https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html (read 2026-11-28)
 */
const LOAD_MS = 10_000;

export type LocalParts = {
  readonly folder: FunctionFolder;
  readonly bundles: Bundles;
  readonly logs: FunctionLogs;
  readonly pool: SandboxPool;
  readonly runtime: Runtime;
  readonly launch: Launch;
  readonly env: Readonly<Record<string, string>>;
  readonly maxResultBytes: number;
  readonly context: OpenContext;
  /** Called once at the end. */
  readonly closed: () => void;
};

/** One connector's functions, run in sandboxed processes of this machine. */
export class LocalFunctions implements ServerlessClient {
  readonly #parts: LocalParts;
  /** Of this client and not of its folder: a process knows its environment for life, which the next client's differs from. */
  readonly #owner = randomUUID();
  #isClosed = false;
  /** Deploys and removals of one function happen one after another. */
  readonly #changes = new Map<string, Promise<unknown>>();

  constructor(parts: LocalParts) {
    this.#parts = parts;
    parts.pool.prewarm(parts.context.tenantFolder, parts.launch);
  }

  async invoke(
    name: string,
    payload: JsonValue,
    { requestId, timeoutMs }: ClientInvocation,
    signal: AbortSignal,
  ): Promise<InvocationOutcome> {
    const { bundles, context } = this.#parts;
    const made = await bundles.get(name);
    const log = this.#parts.logs.of(name);
    return this.#inProcess(name, made, signal, async (member) => {
      // The function's time runs from when its own code is loaded; starting the runtime is ours.
      const deadlineMs = context.clock.now() + timeoutMs;
      const answer = await this.#within(member, timeoutMs, async () => {
        const loaded = await this.#load(member, name, made);
        if (loaded.kind !== 'loaded') return loaded;
        return member.sandbox.ask({ event: payload, requestId, deadlineMs });
      });
      const text = member.sandbox.takeLogs();
      if (text !== undefined) log.add({ at: new Date(context.clock.now()), requestId, text });
      return outcomeOf(answer, this.#called(name, timeoutMs), text);
    });
  }

  async listFunctions(): Promise<readonly FunctionInfo[]> {
    const listed = await this.#parts.folder.list();
    return listed.map((entry) => this.#info(entry));
  }

  async deploy(name: string, source: FunctionSource, signal: AbortSignal): Promise<FunctionInfo> {
    checkName(name);
    return this.#change(name, async () => {
      const { folder } = this.#parts;
      if ('version' in source) {
        const files = await folder.kept(name, source.version);
        await this.#put(name, { version: source.version, files }, signal);
      } else {
        const staged = await folder.stage(name, source);
        await this.#put(name, staged, signal, () => folder.discard(name, staged.version));
      }
      const deployed = await folder.describe(name);
      if (!deployed)
        throw new ConnectorError('internal', `function ${name} is gone as soon as it was deployed`);
      return this.#info(deployed);
    });
  }

  async remove(name: string): Promise<boolean> {
    checkName(name);
    const { folder, bundles, logs } = this.#parts;
    return this.#change(name, async () => {
      const existed = await folder.remove(name);
      await bundles.forget(name);
      await logs.forget(name);
      this.#retire(name);
      return existed;
    });
  }

  async logs(name: string, limit: number): Promise<readonly FunctionLog[]> {
    if (!(await this.#parts.folder.find(name))) {
      throw new ConnectorError('not_found', `no function is named ${name}`);
    }
    return this.#parts.logs.of(name).read(limit);
  }

  async check(): Promise<readonly Note[]> {
    const { runtime, folder } = this.#parts;
    await folder.list();
    const notes: Note[] = [{ level: 'info', message: `functions run in Deno ${runtime.version}` }];
    if (process.platform !== 'linux') {
      notes.push({ level: 'warn', message: 'memory outside the JavaScript heap is limited on Linux only' });
    }
    if (!runtime.diesWithHost) {
      notes.push({
        level: 'warn',
        message:
          'a function in an endless loop goes on when this process is killed: setpriv of util-linux is missing',
      });
    }
    return notes;
  }

  async close(): Promise<void> {
    const { pool, logs, closed } = this.#parts;
    this.#isClosed = true;
    pool.retire(({ owner }) => owner === this.#owner);
    closed();
    await logs.flush();
  }

  /** Makes a version the one that runs once it has been built and loaded; before that, nothing has changed. */
  async #put(
    name: string,
    { version, files }: Staged,
    signal: AbortSignal,
    discard = async () => {},
  ): Promise<void> {
    const { folder, bundles, context } = this.#parts;
    let made: Bundle;
    try {
      made = await bundle(files);
      await this.#checkLoads(name, made, signal);
      if (signal.aborted) throw cancelled(signal);
    } catch (error) {
      await discard();
      throw error;
    }
    await folder.activate(name, version);
    const active = await folder.find(name);
    if (active) await bundles.put(name, active, made);
    this.#retire(name, made.hash);
    await folder.prune(name).catch((error: unknown) => {
      context.log.warn(`old versions of function ${name} could not be removed`, { error: String(error) });
    });
  }

  /** Loads a bundle as a call would, in a process that its first call then finds. */
  async #checkLoads(name: string, made: Bundle, signal: AbortSignal): Promise<void> {
    await this.#inProcess(name, made, signal, async (member) => {
      const loaded = await this.#within(member, LOAD_MS, () => this.#load(member, name, made));
      const text = member.sandbox.takeLogs();
      checkLoaded(loaded, this.#called(name, LOAD_MS));
      if (text !== undefined)
        this.#parts.logs.of(name).add({ at: new Date(this.#parts.context.clock.now()), text });
    });
  }

  /** One piece of work on a process of the function's own, which ends with the signal. */
  async #inProcess<T>(
    name: string,
    { hash }: Bundle,
    signal: AbortSignal,
    work: (member: Member) => Promise<T>,
  ): Promise<T> {
    const { pool, launch, context } = this.#parts;
    const key = `${this.#owner}\n${name}\n${hash}`;
    const want = { tenant: context.tenantFolder, owner: this.#owner, key, launch };
    // Until its process is ready, nothing of the function has run.
    const notRun = (error: unknown) => {
      throw isConnectorError(error) ? unsent(error) : error;
    };
    const member = await pool.acquire(want, signal).catch(notRun);
    const kill = () => member.sandbox.kill('cancelled');
    signal.addEventListener('abort', kill, { once: true });
    // He may have given up as the process was found, when nobody listened.
    if (signal.aborted) kill();
    try {
      await member.ready.catch(notRun);
      return await work(member);
    } catch (error) {
      // A process that is killed while it starts reads like one that cannot be started.
      throw signal.aborted ? cancelled(signal) : error;
    } finally {
      signal.removeEventListener('abort', kill);
      if (this.#isClosed) member.sandbox.kill('closed');
      else pool.release(member, launch);
    }
  }

  async #within(member: Member, timeoutMs: number, work: () => Promise<Answer>): Promise<Answer> {
    const stop = this.#parts.context.clock.after(timeoutMs, () => member.sandbox.kill('timeout'));
    try {
      return await work();
    } finally {
      stop();
    }
  }

  async #load(member: Member, functionName: string, { code }: Bundle): Promise<Answer> {
    if (member.isLoaded) return { kind: 'loaded' };
    const { env, maxResultBytes } = this.#parts;
    const loaded = await member.sandbox.ask({ code, functionName, env, maxResultBytes });
    if (loaded.kind === 'loaded') member.isLoaded = true;
    else member.sandbox.kill('closed');
    return loaded;
  }

  #called(name: string, timeoutMs: number) {
    const { launch, maxResultBytes } = this.#parts;
    return { name, timeoutMs, memoryMb: launch.memoryMb, maxResultBytes };
  }

  #info(listed: Listed): FunctionInfo {
    const { runtime, launch } = this.#parts;
    return { ...listed, runtime: `deno ${runtime.version}`, memoryMb: launch.memoryMb };
  }

  /** Ends the idle processes of a function, except those of the bundle that runs. */
  #retire(name: string, running?: string): void {
    const mine = `${this.#owner}\n${name}\n`;
    this.#parts.pool.retire(({ key }) => key?.startsWith(mine) === true && key !== `${mine}${running}`);
  }

  #change<T>(name: string, change: () => Promise<T>): Promise<T> {
    const before = this.#changes.get(name) ?? Promise.resolve();
    const after = before.then(change, change);
    const settled = after
      .catch(() => {})
      .then(() => {
        if (this.#changes.get(name) === settled) this.#changes.delete(name);
      });
    this.#changes.set(name, settled);
    return after;
  }
}
