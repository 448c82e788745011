import { randomUUID } from 'node:crypto';
import type { BlockBlobClient } from '@azure/storage-blob';
import { headerValue, type ClientWriteOptions, type WriteResult } from '../../../driver.ts';
import { notAzure } from './errors.ts';
import type { Service } from './service.ts';

export const BLOCK_BYTES = 8 * 2 ** 20;
// https://learn.microsoft.com/en-gb/azure/storage/blobs/scalability-targets (read 2026-11-27)
export const MAX_BLOCKS = 50_000;
const PARALLEL = 4;
const FIRST_BYTES = 64 * 1024;

/** What a written blob has besides its content. */
export type BlobFacts = {
  readonly contentType?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
};

/** Writes a blob as a whole: in one request where it fits into a block, else block by block, and then the list of them. */
export async function writeBlob(
  service: Service,
  path: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
  { contentType, metadata, ifNoneMatch, ifMatch }: ClientWriteOptions,
  signal: AbortSignal,
): Promise<WriteResult> {
  const blob = service.blob(path);
  const condition = ifNoneMatch ? 'ifNoneMatch' : ifMatch === undefined ? undefined : 'ifMatch';
  const about = { path, condition } as const;
  const facts = {
    ...properties({ contentType, metadata: metadata && encoded(metadata) }),
    conditions: {
      ...(ifNoneMatch && { ifNoneMatch }),
      ...(ifMatch !== undefined && { ifMatch: `"${ifMatch}"` }),
    },
  };
  const put = (bytes: Uint8Array): Promise<WriteResult> =>
    service.call(signal, about, async () => {
      const { etag } = await blob.upload(bytes, bytes.byteLength, { ...facts, abortSignal: signal });
      return written(path, bytes.byteLength, etag);
    });

  const staging = stagedBlocks(service, blob, path, signal);
  try {
    const blocks = content instanceof Uint8Array ? slices(content) : blocksOf(content, staging.memory);
    for await (const block of blocks) {
      if (staging.count === 0 && block.byteLength < BLOCK_BYTES) return await put(block);
      await staging.add(block);
    }
    if (staging.count === 0) return await put(new Uint8Array());
    const { ids, sizeBytes } = await staging.done();
    return await service.call(signal, about, async () => {
      const { etag } = await blob.commitBlockList([...ids], { ...facts, abortSignal: signal });
      return written(path, sizeBytes, etag);
    });
  } catch (error) {
    await staging.stop();
    throw error;
  }
}

/** Blocks that are sent while the next ones come, four at a time. */
function stagedBlocks(service: Service, blob: BlockBlobClient, path: string, outer: AbortSignal) {
  const ids = blockIds();
  const ending = new AbortController();
  const signal = AbortSignal.any([outer, ending.signal]);
  const sending = new Set<Promise<void>>();
  const failures: unknown[] = [];
  const used: string[] = [];
  const free: Uint8Array[] = [];
  let sizeBytes = 0;
  const check = (): void => {
    if (failures.length > 0) throw failures[0];
  };
  const send = async (id: string, block: Uint8Array): Promise<void> => {
    try {
      // With the caller's signal: that the rest was given up is not the reason of the first failure.
      await service.call(outer, { path }, () =>
        blob.stageBlock(id, block, block.byteLength, { abortSignal: signal }),
      );
      if (block.byteLength === BLOCK_BYTES) free.push(block);
    } catch (error) {
      failures.push(error);
      ending.abort();
    }
  };
  return {
    get count() {
      return used.length;
    },
    /** Room for a block, that of one that has been sent where there is any. */
    memory: (): Uint8Array => free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES),
    /** Resolves when the block is being sent, so that the next one is filled meanwhile. */
    async add(block: Uint8Array): Promise<void> {
      if (sending.size >= PARALLEL) await Promise.race(sending);
      check();
      const id = ids(used.length);
      used.push(id);
      sizeBytes += block.byteLength;
      const sent = send(id, block).finally(() => sending.delete(sent));
      sending.add(sent);
    },
    async done(): Promise<{ readonly ids: readonly string[]; readonly sizeBytes: number }> {
      await Promise.all(sending);
      check();
      return { ids: used, sizeBytes };
    },
    /** Gives up what is being sent, and waits until it has ended. */
    async stop(): Promise<void> {
      ending.abort();
      await Promise.all(sending);
    },
  };
}

/**
 * Names for the blocks of one write, which no other write of the same blob has. All that a blob has must be equally
 * long, those of other writers included, so they are as long as those of the official clients: 64 characters.
 */
export function blockIds(): (index: number) => string {
  const write = randomUUID();
  return (index) => Buffer.from(`${write}-${String(index).padStart(11, '0')}`).toString('base64');
}

function* slices(bytes: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < bytes.byteLength; start += BLOCK_BYTES)
    yield bytes.subarray(start, start + BLOCK_BYTES);
}

/** The source in blocks of its own memory: it may fill the same chunk again. */
async function* blocksOf(
  source: AsyncIterable<Uint8Array>,
  memory: () => Uint8Array,
): AsyncGenerator<Uint8Array> {
  // Most streams are small, so the first block begins small.
  let block: Uint8Array = Buffer.allocUnsafeSlow(FIRST_BYTES);
  let used = 0;
  for await (const chunk of source) {
    for (let taken = 0; taken < chunk.byteLength;) {
      const part = chunk.subarray(taken, taken + BLOCK_BYTES - used);
      if (used + part.byteLength > block.byteLength) {
        const larger = Math.max(block.byteLength * 4, used + part.byteLength);
        const grown = Buffer.allocUnsafeSlow(Math.min(BLOCK_BYTES, larger));
        grown.set(block.subarray(0, used));
        block = grown;
      }
      block.set(part, used);
      used += part.byteLength;
      taken += part.byteLength;
      if (used < BLOCK_BYTES) continue;
      yield block;
      block = memory();
      used = 0;
    }
  }
  if (used > 0) yield block.subarray(0, used);
}

function encoded(metadata: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, headerValue(value)]));
}

/** The facts as the client takes them. */
export function properties({ contentType, metadata }: BlobFacts) {
  return {
    ...(contentType !== undefined && { blobHTTPHeaders: { blobContentType: contentType } }),
    ...(metadata !== undefined && { metadata: { ...metadata } }),
  };
}

export function written(path: string, size: number, etag: string | undefined): WriteResult {
  if (etag === undefined) throw notAzure();
  return { path, size, etag: bareEtag(etag) };
}

/** Azure quotes an etag in headers and not in lists. */
export function bareEtag(etag: string): string {
  return etag.replace(/^"(.*)"$/, '$1');
}
