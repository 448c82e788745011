import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { Socket } from 'node:net';
import { DENO_ENV, denoArguments, type Launch, type Runtime } from './deno.ts';
import { FrameReader, frameOf, textFrame } from './frames.ts';

const MAX_LOG_BYTES = 256 * 1024;
/** A function that writes more in one invocation is killed: reading a flood takes the host's time from others. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
/** What an answer holds besides the result. */
const ENVELOPE_BYTES = 64 * 1024;
/** What an answer of success holds besides the result. */
const COMPLETED_BYTES = 128;

/** Why a process ended: by our hand, or (`exit`) by its own. */
type EndReason = 'timeout' | 'memory' | 'threads' | 'output' | 'cancelled' | 'closed' | 'protocol' | 'exit';

export type Answer =
  | { readonly kind: 'ready' | 'loaded' | 'too_large' }
  | { readonly kind: 'completed'; readonly durationMs: number; readonly result: unknown }
  | { readonly kind: 'failed'; readonly durationMs: number; readonly error: Failure }
  | { readonly kind: 'ended'; readonly reason: EndReason; readonly detail: string };
type Failure = { readonly name: string; readonly message: string; readonly stack?: string };

/** One Deno process: nothing at first, then one function for the rest of its life, one invocation at a time. */
export class Sandbox {
  readonly launch: Launch;
  readonly #child: ChildProcess;
  readonly #readers: FrameReader[] = [];
  #answered: ((answer: Answer) => void) | undefined;
  #frame: Answer | undefined;
  #marked = false;
  #end: Answer | undefined;
  #logs: Buffer[] = [];
  #logBytes = 0;
  #outputBytes = 0;

  constructor(runtime: Runtime, launch: Launch, maxResultBytes: number, ended: (sandbox: Sandbox) => void) {
    this.launch = launch;
    const nonce = randomBytes(16).toString('hex');
    const [command = runtime.executable, ...rest] = [...runtime.prefix, runtime.executable];
    // Detached: a Ctrl-C at the terminal must reach the host alone, which finishes what it accepted.
    this.#child = spawn(command, [...rest, ...denoArguments(runtime, launch)], {
      cwd: '/',
      env: DENO_ENV,
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
      windowsHide: true,
    });
    const maxFrameBytes = maxResultBytes + ENVELOPE_BYTES;
    const output = (bytes: Buffer) => this.#collect(bytes);
    this.#read(
      this.#child.stdout,
      new FrameReader(Buffer.from(nonce), maxFrameBytes, {
        output,
        frame: (body) => {
          this.#frame = answerOf(body, maxResultBytes);
          this.#deliver();
        },
      }),
    );
    this.#read(
      this.#child.stderr,
      new FrameReader(Buffer.from(nonce), 0, {
        output,
        frame: () => {
          this.#marked = true;
          this.#deliver();
        },
      }),
    );
    // A write to a process that has just ended fails here; its end is told by the event below.
    this.#child.stdin?.on('error', () => {});
    this.#child.once('error', (error) => this.#finish('exit', `it could not be started: ${error.message}`));
    // Not `exit`: by `close`, what it wrote last has been read.
    this.#child.once('close', (code, signal) => {
      this.#finish('exit', signal ? `signal ${signal}` : `code ${code}`);
      ended(this);
    });
    this.#child.stdin?.write(textFrame(nonce));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get alive(): boolean {
    return this.#end === undefined;
  }

  /** Resolves with the next answer, for one caller at a time; never rejects. Without a request, waits for the process to be ready. */
  ask(request?: unknown): Promise<Answer> {
    if (this.#end) return Promise.resolve(this.#end);
    this.#setRef(true);
    return new Promise((resolve) => {
      this.#answered = resolve;
      if (request === undefined) this.#deliver();
      else this.#child.stdin?.write(frameOf(request));
    });
  }

  /** Ends the process at once; whoever waits for an answer has `ended`. */
  kill(reason: EndReason): void {
    this.#finish(reason, reason);
    this.#child.kill('SIGKILL');
  }

  /** What the function wrote since this was last asked, at most 256 KB of it. */
  takeLogs(): string | undefined {
    const dropped = this.#outputBytes - this.#logBytes;
    const text = Buffer.concat(this.#logs).toString('utf8');
    this.#logs = [];
    this.#logBytes = 0;
    this.#outputBytes = 0;
    if (text === '') return undefined;
    return dropped > 0 ? `${text}\n[${dropped} more bytes were not kept]` : text;
  }

  #read(stream: Socket | NodeJS.ReadableStream | null, reader: FrameReader): void {
    this.#readers.push(reader);
    stream?.on('data', (chunk: Buffer) => {
      if (!this.alive) return;
      try {
        reader.push(chunk);
      } catch {
        this.kill('protocol');
      }
    });
  }

  #collect(bytes: Buffer): void {
    this.#outputBytes += bytes.length;
    const room = MAX_LOG_BYTES - this.#logBytes;
    if (room > 0) {
      // A copy, because a small piece would keep the whole chunk that it was read in.
      const kept = Buffer.from(bytes.subarray(0, room));
      this.#logs.push(kept);
      this.#logBytes += kept.length;
    }
    if (this.#outputBytes > MAX_OUTPUT_BYTES) this.kill('output');
  }

  /** The frame and the mark on stderr arrive in either order. */
  #deliver(): void {
    const frame = this.#frame;
    const answered = this.#answered;
    if (!frame || !this.#marked || !answered) return;
    this.#frame = undefined;
    this.#marked = false;
    this.#answered = undefined;
    // A process that waits for work must not keep a program alive that has forgotten to close.
    this.#setRef(false);
    answered(frame);
  }

  #finish(reason: EndReason, detail: string): void {
    if (this.#end) return;
    this.#end = { kind: 'ended', reason, detail };
    for (const reader of this.#readers) reader.end();
    this.#answered?.(this.#end);
    this.#answered = undefined;
  }

  #setRef(isRef: boolean): void {
    const method = isRef ? 'ref' : 'unref';
    this.#child[method]();
    for (const stream of [this.#child.stdin, this.#child.stdout, this.#child.stderr]) {
      if (stream instanceof Socket) stream[method]();
    }
  }
}

/**
 * One answer of the bootstrap; its text is as untrusted as the function. @throws Error when it is not one.
 *
 * The bootstrap keeps to every limit below; a function that found a way to write an envelope itself does not, and one
 * way is open to it: `Object.prototype.toJSON`.
 */
function answerOf(body: Buffer, maxResultBytes: number): Answer {
  const answer = JSON.parse(body.toString('utf8')) as Record<string, unknown>;
  const { kind, result = null } = answer;
  const durationMs = Number.isFinite(answer['durationMs']) ? Number(answer['durationMs']) : undefined;
  if (kind === 'ready' || kind === 'loaded' || kind === 'too_large') return { kind };
  if (kind === 'completed' && body.length > maxResultBytes + COMPLETED_BYTES) return { kind: 'too_large' };
  if (durationMs !== undefined && kind === 'completed') return { kind, durationMs, result };
  if (durationMs !== undefined && kind === 'failed') {
    const { name, message, stack } = answer['error'] as Record<string, unknown>;
    const error = { name: String(name).slice(0, 200), message: String(message).slice(0, 4_000) };
    return {
      kind,
      durationMs,
      error: { ...error, ...(typeof stack === 'string' && { stack: stack.slice(0, 16_000) }) },
    };
  }
  throw new Error('not an answer');
}
