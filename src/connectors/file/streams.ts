import { Readable, Writable } from 'node:stream';

/** A Node stream over a body that `open` starts at the first read; destroying it aborts the signal and ends the body. */
export function readableOver(
  open: (signal: AbortSignal) => Promise<AsyncIterable<Uint8Array>>,
  outer?: AbortSignal,
): Readable {
  const ending = new AbortController();
  let iterator: AsyncIterator<Uint8Array> | undefined;
  const pull = async () => {
    iterator ??= (await open(joined(ending.signal, outer)))[Symbol.asyncIterator]();
    const step = await iterator.next();
    return step.done ? null : step.value;
  };
  return new Readable({
    highWaterMark: 0,
    read() {
      pull().then(
        (chunk) => this.push(chunk),
        (error: unknown) => this.destroy(asError(error)),
      );
    },
    destroy(error, done) {
      ending.abort(error ?? undefined);
      void iterator?.return?.();
      done(error);
    },
  });
}

/**
 * A Node stream into what `write` consumes. `finish` comes after `write` has resolved, so what it promises holds then;
 * destroying the stream aborts the signal.
 */
export function writableInto(
  write: (content: AsyncIterable<Uint8Array>, signal: AbortSignal) => Promise<unknown>,
  outer?: AbortSignal,
): Writable {
  type Chunk = { readonly bytes: Uint8Array; readonly taken: () => void };
  const ending = new AbortController();
  const noMore = Symbol('no more');
  let waiting: Chunk | typeof noMore | undefined;
  let wake = () => {};

  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (waiting === undefined) await new Promise<void>((resolve) => (wake = resolve));
      if (waiting === noMore) return;
      if (waiting === undefined) continue;
      const { bytes, taken } = waiting;
      waiting = undefined;
      yield bytes;
      // Only now has the consumer asked for more: the backpressure of the backend is that of this stream.
      taken();
    }
  }

  const stream = new Writable({
    decodeStrings: true,
    write(bytes: Uint8Array, _encoding, taken) {
      waiting = { bytes, taken };
      wake();
    },
    final(done) {
      waiting = noMore;
      wake();
      written.then(
        () => done(),
        (error: unknown) => done(asError(error)),
      );
    },
    destroy(error, done) {
      ending.abort(error ?? undefined);
      done(error);
    },
  });
  const written = write(chunks(), joined(ending.signal, outer));
  written.catch((error: unknown) => stream.destroy(asError(error)));
  return stream;
}

function joined(signal: AbortSignal, outer: AbortSignal | undefined): AbortSignal {
  return outer === undefined ? signal : AbortSignal.any([signal, outer]);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
