/**
 * The program that Deno runs: it loads one function, then runs one invocation after another.
 *
 * It reads requests synchronously, so that between invocations nothing of the function runs in this thread, and the end
 * of the host (end of input) ends the process. It may import nothing: the sandbox reads no files. What it needs later
 * is taken hold of here, before the function can change a prototype.
 */
declare function addEventListener(type: string, listener: (event: Stray) => void): void;
declare const Deno: {
  readonly stdin: { readSync(into: Uint8Array): number | null };
  readonly stdout: { writeSync(bytes: Uint8Array): number };
  readonly stderr: { writeSync(bytes: Uint8Array): number };
  readonly env: { set(name: string, value: string): void };
  exit(code?: number): never;
};

type Load = {
  readonly code: string;
  readonly functionName: string;
  readonly env: Readonly<Record<string, string>>;
  readonly maxResultBytes: number;
};
type Invoke = { readonly event: unknown; readonly requestId: string; readonly deadlineMs: number };
type Stray = { readonly reason?: unknown; readonly error?: unknown; preventDefault(): void };
type Failure = { readonly name: string; readonly message: string; readonly stack?: string };
type Handler = (event: unknown, context: Readonly<Record<string, unknown>>) => unknown;

const { parse, stringify } = JSON;
const exit: (code: number) => never = Deno.exit;
const stdin = Deno.stdin.readSync.bind(Deno.stdin);
const stdout = Deno.stdout.writeSync.bind(Deno.stdout);
const stderr = Deno.stderr.writeSync.bind(Deno.stderr);
const encoder = new TextEncoder();
const encode = encoder.encode.bind(encoder);
const decoder = new TextDecoder();
const decode = decoder.decode.bind(decoder);
const { apply } = Reflect;
const { set } = Uint8Array.prototype;
const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array;
const getter = (name: string) => Object.getOwnPropertyDescriptor(typedArray, name)?.get as () => unknown;
const byteLength = getter('byteLength') as () => number;
const byteOffset = getter('byteOffset') as () => number;
const bufferOf = getter('buffer') as () => ArrayBuffer;
const Bytes = Uint8Array;
const after = setTimeout;
const cancel = clearTimeout;
const turn = setImmediate;
const Later = Promise;
const { now } = Date;
const clock = performance.now.bind(performance);
const requestType = Request;
const responseType = Response;

function sizeOf(bytes: Uint8Array): number {
  return apply(byteLength, bytes, []);
}

/** Not `subarray`, which asks the array for its constructor: a function that put itself there would see the nonce. */
function slice(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return new Bytes(apply(bufferOf, bytes, []), apply(byteOffset, bytes, []) + start, end - start);
}

function readExactly(bytes: number): Uint8Array {
  const into = new Bytes(bytes);
  for (let read = 0; read < bytes;) {
    const more = stdin(slice(into, read, bytes));
    // The host closed the process, or is gone.
    if (more === null) return exit(0);
    read += more;
  }
  return into;
}

/** One frame from the host: four bytes of length, big end first, then the rest. */
function readFrame(): Uint8Array {
  const head = readExactly(4);
  const length =
    (head[0] ?? 0) * 2 ** 24 + (head[1] ?? 0) * 2 ** 16 + (head[2] ?? 0) * 2 ** 8 + (head[3] ?? 0);
  return readExactly(length);
}

function receive(): unknown {
  return parse(decode(readFrame()));
}

function writeAll(write: (bytes: Uint8Array) => number, bytes: Uint8Array): void {
  const total = sizeOf(bytes);
  for (let written = 0; written < total;) written += write(slice(bytes, written, total));
}

// The secret of this process comes over the input, not as an argument or in the environment, where the function could
// read it; and it is never a text, which would stand in the heap, of which a function can take a snapshot.
const nonce = readFrame();

// An empty frame on stderr says to the host that it has seen all that the invocation wrote there.
const mark = new Bytes(sizeOf(nonce) + 4);
apply(set, mark, [nonce, 0]);

/** One frame to the host: the nonce, four bytes of length, JSON. */
function send(json: string): void {
  const body = encode(json);
  const length = sizeOf(body);
  const start = sizeOf(nonce);
  const frame = new Bytes(start + 4 + length);
  apply(set, frame, [nonce, 0]);
  frame[start] = length >>> 24;
  frame[start + 1] = length >>> 16;
  frame[start + 2] = length >>> 8;
  frame[start + 3] = length;
  apply(set, frame, [body, start + 4]);
  writeAll(stderr, mark);
  writeAll(stdout, frame);
}

// One stream, so that lines stay in the order in which they were written.
console.error = console.warn = console.log;

let strayed: ((reason: unknown) => void) | undefined;
function stray(event: Stray): void {
  event.preventDefault();
  const reason = event.reason ?? event.error;
  if (strayed) strayed(reason);
  else console.log('after the end of an invocation:', reason);
}
addEventListener('unhandledrejection', stray);
addEventListener('error', stray);

send('{"kind":"ready"}');
const { code, functionName, env, maxResultBytes } = receive() as Load;
for (const name in env) Deno.env.set(name, env[name] ?? '');

try {
  const loaded = await import(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
  const handler = handlerOf(loaded as Record<string, unknown>);
  send('{"kind":"loaded"}');
  for (;;) await run(handler, receive() as Invoke);
} catch (error) {
  send(failed(error, 0));
}

function handlerOf(module: Record<string, unknown>): Handler {
  if (typeof module['handler'] === 'function') return module['handler'] as Handler;
  const main = module['default'] as { fetch?: unknown } | undefined;
  const serve = typeof main === 'function' ? main : main?.fetch;
  if (typeof serve !== 'function') {
    throw new TypeError('the function exports neither handler(event, context) nor a fetch-style default');
  }
  return async (event, context) => {
    const request = new requestType(`http://function/${functionName}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-request-id': String(context['requestId']) },
      body: stringify(event),
    });
    const response: unknown = await apply(serve, main, [request, context]);
    if (!(response instanceof responseType)) throw new TypeError('the default export answered no Response');
    const text = await response.text();
    if (!response.ok) throw new Error(`the function answered ${response.status}: ${text.slice(0, 300)}`);
    return response.headers.get('content-type')?.includes('json') ? parse(text) : text;
  };
}

async function run(handler: Handler, { event, requestId, deadlineMs }: Invoke): Promise<void> {
  // The host kills at the deadline; this ends the process when the host itself was killed.
  const orphaned = after(() => exit(1), deadlineMs - now() + 2000);
  const startedMs = clock();
  let answer: string;
  try {
    const result = await unlessStray(() => handler(event, { requestId, functionName, deadlineMs }));
    const durationMs = clock() - startedMs;
    // Rejections that nobody handles come to light in the next turn.
    await unlessStray(() => new Later((resolve) => turn(resolve)));
    const json = stringify(result) ?? 'null';
    answer =
      json.length > maxResultBytes || sizeOf(encode(json)) > maxResultBytes
        ? '{"kind":"too_large"}'
        : `{"kind":"completed","durationMs":${durationMs},"result":${json}}`;
  } catch (error) {
    answer = failed(error, clock() - startedMs);
  }
  strayed = undefined;
  cancel(orphaned);
  send(answer);
}

/** What `work` answers, or an error that strays meanwhile. Not `Promise.race`, which a changed array iterator breaks. */
function unlessStray(work: () => unknown): Promise<unknown> {
  return new Later((resolve, reject) => {
    strayed = reject;
    void (async () => {
      try {
        resolve(await work());
      } catch (error) {
        reject(error);
      }
    })();
  });
}

function failed(error: unknown, durationMs: number): string {
  return stringify({ kind: 'failed', durationMs, error: failureOf(error) });
}

/** What was thrown, as data; it may be anything, also an object whose getters throw. */
function failureOf(error: unknown): Failure {
  try {
    if (!(error instanceof Error)) return { name: 'Error', message: text(error, 4000) };
    const { name, message, stack } = error;
    return {
      name: text(name, 200),
      message: text(message, 4000),
      ...(typeof stack === 'string' && { stack: text(ownLines(stack), 16_000) }),
    };
  } catch {
    return { name: 'Error', message: 'the function threw something that cannot be read' };
  }
}

/** Without the lines of this file, which tell where the host keeps it. */
function ownLines(stack: string): string {
  return stack
    .split('\n')
    .filter((line) => !line.includes(import.meta.url))
    .join('\n');
}

function text(value: unknown, maxLength: number): string {
  const plain = typeof value === 'object' ? (stringify(value) ?? '') : String(value);
  return plain.slice(0, maxLength);
}

export {};
