import type { BlobGetPropertiesResponse } from '@azure/storage-blob';
import { ConnectorError, type WriteResult } from '../../../driver.ts';
import { blockIds, MAX_BLOCKS, properties, written } from './blocks.ts';
import { notAzure } from './errors.ts';
import type { Service } from './service.ts';
import type { Signing } from './signing.ts';

// https://learn.microsoft.com/rest/api/storageservices/copy-blob-from-url (read 2026-11-27)
const MAX_AT_ONCE_BYTES = 256 * 2 ** 20;
const COPIED_BLOCK_BYTES = 128 * 2 ** 20;
const PARALLEL = 4;
/** How long Azure may read the source with the signature that we give it. */
const SOURCE_MS = 3_600_000;

type Source = {
  readonly url: string;
  /** For Azure to read the source with: where it is no signature, our own token. */
  readonly authorization?: { readonly scheme: 'Bearer'; readonly value: string };
};

/**
 * Copies within the account, by Azure itself: in one request up to 256 MiB, block by block above that. Either is seen
 * whole or not at all; the older asynchronous copy may leave half a blob in its place for a while.
 *
 * @param atOnceBytes what is copied in one request at most.
 */
export async function copyBlob(
  service: Service,
  signer: Signing,
  [from, to]: readonly [from: string, to: string],
  signal: AbortSignal,
  atOnceBytes = MAX_AT_ONCE_BYTES,
): Promise<WriteResult & { readonly fromEtag: string }> {
  const facts = await propertiesOf(service, from, signal);
  const { etag, contentLength: size } = facts;
  if (etag === undefined || size === undefined) throw notAzure();
  if (from === to) return { ...written(to, size, etag), fromEtag: etag };
  const source = await sourceOf(service, signer, from, signal);
  if (size > atOnceBytes) return copyBlocks(service, source, [from, to], facts, signal);
  const answer = await service.call(signal, { path: from }, () =>
    service.blob(to).syncCopyFromURL(source.url, {
      abortSignal: signal,
      sourceConditions: { ifMatch: etag },
      ...(source.authorization && { sourceAuthorization: source.authorization }),
    }),
  );
  return { ...written(to, size, answer.etag), fromEtag: etag };
}

async function copyBlocks(
  service: Service,
  source: Source,
  [from, to]: readonly [from: string, to: string],
  { etag = '', contentLength: size = 0, contentType, metadata }: BlobGetPropertiesResponse,
  signal: AbortSignal,
): Promise<WriteResult & { readonly fromEtag: string }> {
  const blob = service.blob(to);
  const blockBytes = Math.max(COPIED_BLOCK_BYTES, Math.ceil(size / MAX_BLOCKS));
  const count = Math.ceil(size / blockBytes);
  const idOf = blockIds();
  const ids = Array.from({ length: count }, (_, index) => idOf(index));
  const options = { ...(source.authorization && { sourceAuthorization: source.authorization }) };
  const ending = new AbortController();
  const joined = AbortSignal.any([signal, ending.signal]);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      const start = index * blockBytes;
      const length = Math.min(blockBytes, size - start);
      await service.call(signal, { path: from }, () =>
        blob.stageBlockFromURL(ids[index] ?? '', source.url, start, length, {
          ...options,
          abortSignal: joined,
        }),
      );
    }
  };
  const workers = Array.from({ length: PARALLEL }, worker);
  try {
    await Promise.all(workers);
  } catch (error) {
    ending.abort();
    await Promise.allSettled(workers);
    throw error;
  }
  // Nothing ties the blocks to one state of the source but that it is still the one they were read from.
  const after = await propertiesOf(service, from, signal);
  if (after.etag !== etag)
    throw new ConnectorError('conflict', 'the file was replaced while it was copied', {
      details: { path: from },
    });
  const answer = await service.call(signal, { path: to }, () =>
    blob.commitBlockList(ids, { ...properties({ contentType, metadata }), abortSignal: signal }),
  );
  return { ...written(to, size, answer.etag), fromEtag: etag };
}

/** A copy, and then the source is deleted, unless it was replaced meanwhile. */
export async function moveBlob(
  service: Service,
  signer: Signing,
  [from, to]: readonly [from: string, to: string],
  signal: AbortSignal,
): Promise<WriteResult> {
  const { fromEtag, ...result } = await copyBlob(service, signer, [from, to], signal);
  if (from !== to) await deleteBlob(service, from, signal, fromEtag);
  return result;
}

/** False where there was none. */
export async function deleteBlob(
  service: Service,
  path: string,
  signal: AbortSignal,
  ifMatch?: string,
): Promise<boolean> {
  const conditions = ifMatch === undefined ? {} : { conditions: { ifMatch } };
  const { succeeded } = await service.call(signal, { path }, () =>
    // With snapshots of it, which would keep it from being deleted.
    service.blob(path).deleteIfExists({ deleteSnapshots: 'include', abortSignal: signal, ...conditions }),
  );
  return succeeded;
}

export async function propertiesOf(
  service: Service,
  path: string,
  signal: AbortSignal,
): Promise<BlobGetPropertiesResponse> {
  return service.call(signal, { path }, () => service.blob(path).getProperties({ abortSignal: signal }));
}

/** Azure reads the source as anybody would, so it needs to be authorised for itself. */
async function sourceOf(
  service: Service,
  signer: Signing,
  path: string,
  signal: AbortSignal,
): Promise<Source> {
  const { credentials, clock } = service;
  const url = service.urlOf(path);
  if (credentials.kind === 'sas') return { url: `${url}?${credentials.query}` };
  if (credentials.kind === 'token')
    return { url, authorization: { scheme: 'Bearer', value: await credentials.tokens.get(signal) } };
  const expiresAt = new Date(clock.now() + SOURCE_MS);
  return { url: `${url}?${await signer.query({ path, permissions: 'r', expiresAt }, signal)}` };
}
