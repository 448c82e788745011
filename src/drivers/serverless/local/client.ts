import { randomUUID } from 'node:crypto';
import {
  ConnectorError,
  type ClientInvocation,
  type FunctionInfo,
  type FunctionSource,
  type InvocationOutcome,
  type JsonValue,
  type Note,
  type OpenContext,
  type ServerlessClient,
} from '../../../driver.ts';
import { bundle } from './bundle.ts';
import type { Bundles } from './bundles.ts';
import type { Launch, Runtime } from './deno.ts';
import { checkName, type FunctionFolder } from './folder.ts';
import type { Member, SandboxPool } from './pool.ts';
import type { Answer } from './sandbox.ts';

export type LocalParts = {
  readonly folder: FunctionFolder;
  readonly bundles: Bundles;
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
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<InvocationOutcome> {
    const { bundles, pool, launch, context } = this.#parts;
    const { code, hash } = await bundles.get(name);
    const key = `${this.#owner}\n${name}\n${hash}`;
    const want = { tenant: context.tenantFolder, owner: this.#owner, key, launch };
    const member = await pool.acquire(want, signal);
    const kill = () => member.sandbox.kill('cancelled');
    signal.addEventListener('abort', kill, { once: true });
    try {
      await member.ready;
      const answer = await this.#run(member, name, code, payload, invocation);
      return this.#outcome(answer, member, name, invocation);
    } finally {
      signal.removeEventListener('abort', kill);
      if (this.#isClosed) member.sandbox.kill('closed');
      else pool.release(member, launch);
    }
  }

  async listFunctions(): Promise<readonly FunctionInfo[]> {
    const listed = await this.#parts.folder.list();
    return listed.map((entry) => this.#info(entry.name, entry.lastModified));
  }

  async deploy(name: string, source: FunctionSource): Promise<FunctionInfo> {
    checkName(name);
    const { folder, bundles } = this.#parts;
    return this.#change(name, async () => {
      const { version, files } = await folder.stage(name, source);
      try {
        const made = await bundle(files);
        await folder.activate(name, version);
        await bundles.put(name, made);
      } catch (error) {
        await folder.discard(name, version);
        throw error;
      }
      this.#retire(name);
      return this.#info(name, new Date(this.#parts.context.clock.now()));
    });
  }

  async remove(name: string): Promise<boolean> {
    checkName(name);
    const { folder, bundles } = this.#parts;
    return this.#change(name, async () => {
      const existed = await folder.remove(name);
      await bundles.forget(name);
      this.#retire(name);
      return existed;
    });
  }

  async check(): Promise<readonly Note[]> {
    const { runtime, folder } = this.#parts;
    await folder.list();
    const notes: Note[] = [{ level: 'info', message: `functions run in Deno ${runtime.version}` }];
    if (process.platform !== 'linux') {
      notes.push({ level: 'warn', message: 'memory outside the JavaScript heap is limited on Linux only' });
    }
    if (runtime.prefix.length === 0) {
      notes.push({
        level: 'warn',
        message:
          'a function in an endless loop goes on when this process is killed: setpriv of util-linux is missing',
      });
    }
    return notes;
  }

  async close(): Promise<void> {
    const { pool, closed } = this.#parts;
    this.#isClosed = true;
    pool.retire(({ owner }) => owner === this.#owner);
    closed();
  }

  /** The function's time runs from when its own code is loaded; starting the runtime is ours. */
  async #run(
    member: Member,
    functionName: string,
    code: string,
    event: JsonValue,
    { requestId, timeoutMs }: ClientInvocation,
  ): Promise<Answer> {
    const { env, maxResultBytes, context } = this.#parts;
    const { sandbox } = member;
    const deadlineMs = context.clock.now() + timeoutMs;
    const stop = context.clock.after(timeoutMs, () => sandbox.kill('timeout'));
    try {
      if (!member.isLoaded) {
        const loaded = await sandbox.ask({ code, functionName, env, maxResultBytes });
        if (loaded.kind !== 'loaded') {
          sandbox.kill('closed');
          return loaded;
        }
        member.isLoaded = true;
      }
      return await sandbox.ask({ event, requestId, deadlineMs });
    } finally {
      stop();
    }
  }

  #outcome(
    answer: Answer,
    { sandbox }: Member,
    name: string,
    { timeoutMs }: ClientInvocation,
  ): InvocationOutcome {
    const text = sandbox.takeLogs();
    const logs = text === undefined ? {} : { logs: text };
    switch (answer.kind) {
      case 'completed':
        // It came out of JSON.parse.
        return {
          status: 'completed',
          result: answer.result as JsonValue,
          durationMs: answer.durationMs,
          ...logs,
        };
      case 'failed':
        return { status: 'failed', error: answer.error, durationMs: answer.durationMs, ...logs };
      case 'too_large': {
        const { maxResultBytes } = this.#parts;
        throw new ConnectorError(
          'payload_too_large',
          `the result of ${name} is over ${maxResultBytes} bytes of JSON`,
          {
            details: { limitBytes: maxResultBytes },
          },
        );
      }
      case 'ended':
        return { status: 'failed', error: this.#death(answer, name, timeoutMs), ...logs };
      default:
        throw new ConnectorError('internal', `the function runtime answered ${answer.kind}`);
    }
  }

  #death({ reason, detail }: Extract<Answer, { kind: 'ended' }>, name: string, timeoutMs: number) {
    switch (reason) {
      case 'timeout':
        throw new ConnectorError('timeout', `function ${name} ran longer than ${timeoutMs / 1000} s`, {
          details: { timeoutMs },
        });
      case 'cancelled':
      case 'closed':
        throw new ConnectorError('cancelled', 'the call was ended');
      case 'memory':
        return { name: 'MemoryError', message: `used more than ${this.#parts.launch.memoryMb} MB` };
      case 'output':
        return { name: 'OutputError', message: 'wrote more than 16 MB of output' };
      case 'protocol':
        return { name: 'RuntimeError', message: 'disturbed its own runtime' };
      case 'exit':
        return { name: 'ExitError', message: `ended its process with ${detail}` };
    }
  }

  #info(name: string, lastModified: Date): FunctionInfo {
    const { runtime, launch } = this.#parts;
    return { name, runtime: `deno ${runtime.version}`, memoryMb: launch.memoryMb, lastModified };
  }

  #retire(name: string): void {
    const mine = `${this.#owner}\n${name}\n`;
    this.#parts.pool.retire(({ key }) => key?.startsWith(mine) ?? false);
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
