import { Worker } from 'node:worker_threads';
import { ConnectorError, type Log, type Progress } from '../../../driver.ts';
import { ExitGate } from './exit-gate.ts';
import type { Answers, FromWorker, Operation, Requests } from './protocol.ts';

/** Who hears what a collection has to say between answers. */
export type Listener = { readonly log: Log; progress(progress: Progress): void };

type Waiting = {
  resolve(answer: Answers[Operation]): void;
  reject(error: ConnectorError): void;
};

/**
 * The main thread's end of the one worker that serves every embedded collection of the process.
 *
 * It starts with the first collection and ends with the last. While nobody waits for it, it does not keep the process
 * alive.
 */
class WorkerHost {
  /** The worker's own: one that broke down may have left its gate in the midst of a call. */
  #gate = new ExitGate();
  readonly #onExit = (): void => this.#gate.close();
  #worker: Worker | undefined;
  readonly #listeners = new Map<number, Listener>();
  readonly #waiting = new Map<number, Waiting>();
  #lastCall = 0;
  #lastCollection = 0;

  /** A number for a collection that is about to be opened. */
  register(listener: Listener): number {
    const collection = ++this.#lastCollection;
    this.#listeners.set(collection, listener);
    return collection;
  }

  /** The collection is closed; the last one takes the worker along. */
  async unregister(collection: number): Promise<void> {
    this.#listeners.delete(collection);
    if (this.#listeners.size > 0) return;
    const worker = this.#worker;
    this.#worker = undefined;
    process.off('exit', this.#onExit);
    await worker?.terminate();
  }

  /** Whether a collection that the worker had open is still open. */
  knows(collection: number): boolean {
    return this.#worker !== undefined && this.#listeners.has(collection);
  }

  /**
   * The worker's answer.
   *
   * @throws ConnectorError what the worker threw; `cancelled` as soon as the signal is aborted; `unavailable` when the
   *   worker ended.
   */
  call<O extends Operation>(
    collection: number,
    operation: O,
    request: Requests[O],
    {
      signal,
      transfer = [],
    }: { readonly signal?: AbortSignal; readonly transfer?: readonly ArrayBuffer[] } = {},
  ): Promise<Answers[O]> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(cancelled(signal));
      const call = ++this.#lastCall;
      const onAbort = (): void => {
        this.#settle(call);
        reject(cancelled(signal));
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const done = (): void => signal?.removeEventListener('abort', onAbort);
      const worker = (this.#worker ??= this.#start());
      if (this.#waiting.size === 0) worker.ref();
      this.#waiting.set(call, {
        resolve: (answer) => {
          done();
          // The worker answers a call with the answer of its operation: OPERATIONS in worker.ts is typed so.
          resolve(answer as Answers[O]);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      });
      worker.postMessage({ call, collection, operation, request }, transfer);
    });
  }

  #start(): Worker {
    // The sources run as they are; built, the worker lies beside this file as JavaScript.
    const file = import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js';
    this.#gate = new ExitGate();
    const worker = new Worker(new URL(file, import.meta.url), {
      name: 'vectors',
      workerData: this.#gate.memory,
      // Flags of the process such as --input-type or --inspect-brk are not for this thread.
      execArgv: [],
      // Its short-lived objects are rows in passing; more room only makes the process larger (20 MB, measured).
      resourceLimits: { maxYoungGenerationSizeMb: 8 },
    });
    process.on('exit', this.#onExit);
    worker.on('message', (message: FromWorker) => this.#receive(message));
    worker.on('error', (cause) => this.#ended(worker, cause));
    worker.on('exit', () => this.#ended(worker));
    return worker;
  }

  #receive(message: FromWorker): void {
    if ('collection' in message) {
      const listener = this.#listeners.get(message.collection);
      if (listener === undefined) return;
      if ('progress' in message) listener.progress(message.progress);
      else listener.log[message.level](message.message, message.fields);
      return;
    }
    const waiting = this.#settle(message.call);
    if ('answer' in message) waiting?.resolve(message.answer);
    else waiting?.reject(new ConnectorError(message.error.code, message.error.message, message.error));
  }

  /** Forgets a call; its late answer goes nowhere. */
  #settle(call: number): Waiting | undefined {
    const waiting = this.#waiting.get(call);
    this.#waiting.delete(call);
    if (this.#waiting.size === 0) this.#worker?.unref();
    return waiting;
  }

  #ended(worker: Worker, cause?: unknown): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    process.off('exit', this.#onExit);
    this.#listeners.clear();
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    const error = new ConnectorError(
      'unavailable',
      'the thread that serves embedded vectors ended; try again',
      {
        cause,
      },
    );
    for (const { reject } of waiting) reject(error);
  }
}

/** The process's one worker. */
export const workerHost = new WorkerHost();

function cancelled(signal: AbortSignal | undefined): ConnectorError {
  return new ConnectorError('cancelled', 'the caller ended the call', { cause: signal?.reason });
}
