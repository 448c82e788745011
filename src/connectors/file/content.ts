import type { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { cancelled } from '../../contract/clock.ts';
import { ConnectorError, invalidField } from '../../errors/error.ts';
import type { Call } from '../../policies/pipeline.ts';

/** What a file is written from. Text is stored as UTF-8; a stream's chunks are bytes or text. */
export type FileContent =
  string | Uint8Array | AsyncIterable<Uint8Array | string> | ReadableStream<Uint8Array> | Readable;

/** The bytes of content that lies in memory; undefined for a stream. */
export function bytesOf(content: FileContent): Uint8Array | undefined {
  if (typeof content === 'string') return Buffer.from(content);
  return content instanceof Uint8Array ? content : undefined;
}

/** A stream's chunks, one after another, with an end that also stops a source that is stalled. */
type Source = {
  readonly next: () => Promise<IteratorResult<unknown, unknown>>;
  readonly end: () => unknown;
};

/** Content that can be read once, by one attempt of a call. */
export interface ContentStream {
  /** Whether some of it was read, so that no other attempt can have the whole. */
  readonly isStarted: boolean;
  /** The chunks as bytes; each is progress of the call, and the call's signal ends a wait for the next. */
  read(call: Call, maxBytes: number, onProgress?: (bytes: number) => void): AsyncIterable<Uint8Array>;
  /** Frees the source; does nothing a second time. */
  end(): void;
}

/** @throws ConnectorError `invalid_argument` when the content is none of what {@link FileContent} lists. */
export function contentStream(content: Exclude<FileContent, string | Uint8Array>): ContentStream {
  const source = sourceOf(content);
  let isStarted = false;
  let isEnded = false;
  const end = () => {
    if (isEnded) return;
    isEnded = true;
    // The source's own trouble in stopping is nobody's any more: the write has been answered.
    void Promise.resolve(source.end()).catch(() => {});
  };
  return {
    get isStarted() {
      return isStarted;
    },
    end,
    async *read(call, maxBytes, onProgress) {
      isStarted = true;
      let sizeBytes = 0;
      try {
        for (;;) {
          const step = await endable(source, call.signal);
          if (step.done) return;
          call.progress();
          const chunk = chunkOf(step.value);
          sizeBytes += chunk.byteLength;
          checkSize(sizeBytes, maxBytes);
          if (chunk.byteLength > 0) yield chunk;
          onProgress?.(sizeBytes);
        }
      } finally {
        end();
      }
    },
  };
}

/** @throws ConnectorError `payload_too_large`. */
export function checkSize(sizeBytes: number, maxBytes: number): void {
  if (sizeBytes <= maxBytes) return;
  throw new ConnectorError('payload_too_large', `a file is at most ${maxBytes} bytes`, {
    details: { maxBytes },
  });
}

function sourceOf(content: Exclude<FileContent, string | Uint8Array>): Source {
  if (typeof content !== 'object' || content === null) throw notContent();
  // Only a reader of ours can cancel a web stream while a chunk is waited for.
  if ('getReader' in content) {
    const reader = content.getReader();
    return { next: () => reader.read(), end: () => reader.cancel() };
  }
  if (!(Symbol.asyncIterator in content)) throw notContent();
  const iterator = content[Symbol.asyncIterator]();
  // A stream of Node's is destroyed directly: its iterator answers `return` only after the chunk that is waited for.
  if ('destroy' in content) return { next: () => iterator.next(), end: () => content.destroy() };
  return { next: () => iterator.next(), end: () => iterator.return?.() };
}

function endable(source: Source, signal: AbortSignal): Promise<IteratorResult<unknown, unknown>> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(cancelled(signal));
    const onAbort = () => reject(cancelled(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    source
      .next()
      .then(resolve, reject)
      .finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function chunkOf(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  if (typeof chunk === 'string') return Buffer.from(chunk);
  throw invalidField('content', 'is a stream of bytes or text');
}

function notContent(): ConnectorError {
  return invalidField('content', 'is bytes, text or a stream');
}
