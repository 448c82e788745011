import type { CompletedPart, CreateMultipartUploadCommandInput } from '@aws-sdk/client-s3';
import { until } from '../../../clouds/aws/sdk.ts';
import { ConnectorError, networkFailure } from '../../../driver.ts';
import type { Bucket } from './bucket.ts';
import { notS3 } from './errors.ts';
import { bareEtag, etagNow } from './read.ts';
import { PARALLEL_PARTS, type Writing } from './writing.ts';

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html (read 2026-11-27)
const MAX_PARTS = 10_000;
/** How often an upload is aborted until the store says that nothing is left of it. */
const MAX_ABORTS = 3;

/** A file that is made of pieces, whatever these are. */
export type PartsJob<Piece> = {
  readonly path: string;
  /** What the file is to be, beyond its content. */
  readonly described: Omit<CreateMultipartUploadCommandInput, 'Bucket' | 'Key'>;
  readonly condition?: { readonly IfNoneMatch?: string; readonly IfMatch?: string };
  readonly next: () => Promise<IteratorResult<Piece, unknown>>;
  readonly send: (id: string, number: number, piece: Piece, signal: AbortSignal) => Promise<CompletedPart>;
};

/**
 * Sends the pieces, some at once, and puts them together; answers the etag.
 *
 * Not by `lib-storage`: its parts do not end with the signal, and it aborts the upload while they are on their way, so
 * that what arrives later is left behind. Here a failure is answered at once, and afterwards, when every part has ended,
 * the upload is aborted until nothing is left of it.
 */
export async function inParts<Piece>(
  { bucket, afterwards, isAmazon }: Writing,
  job: PartsJob<Piece>,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { path } = job;
  const { CompleteMultipartUploadCommand, CreateMultipartUploadCommand } = bucket.sdk;
  const ending = new AbortController();
  const creation = new CreateMultipartUploadCommand({
    Bucket: bucket.name,
    Key: path,
    ...job.described,
    // What the SDK computes of each part has to be announced.
    ...(isAmazon && { ChecksumAlgorithm: 'CRC32' }),
  });
  // It does not end with the call's signal: an upload whose id never came could not be aborted.
  const begin = bucket.send(creation, ending.signal).then(({ UploadId }) => {
    if (UploadId === undefined) throw notS3();
    return UploadId;
  });
  const sending = new Set<Promise<void>>();
  try {
    const id = await until(signal, () => begin);
    const parts = await sendAll(job, id, sending, signal);
    const completion = new CompleteMultipartUploadCommand({
      Bucket: bucket.name,
      Key: path,
      UploadId: id,
      MultipartUpload: { Parts: parts },
      ...job.condition,
    });
    const { ETag } = await bucket.send(completion, signal);
    // Ceph 16 leaves it empty.
    return ETag ? bareEtag(ETag) : await etagNow(bucket, path, signal);
  } catch (error) {
    afterwards.run(async (late) => {
      late.addEventListener('abort', () => ending.abort(), { once: true });
      const id = await begin;
      await Promise.all(sending);
      await discard(bucket, path, id, late);
    });
    throw error;
  }
}

/** Sends every piece; the first failure ends the others. None of the promises in `sending` rejects. */
async function sendAll<Piece>(
  { next, send }: PartsJob<Piece>,
  id: string,
  sending: Set<Promise<void>>,
  signal: AbortSignal,
): Promise<CompletedPart[]> {
  const failing = new AbortController();
  const either = AbortSignal.any([signal, failing.signal]);
  const parts: CompletedPart[] = [];
  const sendOne = async (piece: Piece, number: number): Promise<void> => {
    try {
      parts[number - 1] = await send(id, number, piece, either);
    } catch (error) {
      // The reason of the signal is what every wait here ends with.
      failing.abort(error);
    }
  };
  try {
    for (let number = 1; ; number += 1) {
      const step = await until(either, next);
      if (step.done === true) break;
      if (number > MAX_PARTS) throw tooManyParts();
      const one = sendOne(step.value, number).finally(() => sending.delete(one));
      sending.add(one);
      if (sending.size >= PARALLEL_PARTS) await until(either, () => Promise.race(sending));
    }
    await until(either, () => Promise.all(sending));
    failing.signal.throwIfAborted();
    return parts;
  } catch (error) {
    failing.abort(error);
    throw signal.aborted ? networkFailure(error, signal) : failing.signal.reason;
  }
}

/**
 * Parts that were on their way may arrive after the upload was aborted, and stay until it is aborted again
 * (https://docs.aws.amazon.com/sdkfornet/v3/apidocs/items/S3/MS3AbortMultipartUploadAbortMultipartUploadRequest.html, read
 * 2026-11-27).
 */
async function discard(bucket: Bucket, path: string, id: string, signal: AbortSignal): Promise<void> {
  const { AbortMultipartUploadCommand, ListPartsCommand } = bucket.sdk;
  const upload = { Bucket: bucket.name, Key: path, UploadId: id };
  for (let abort = 1; abort <= MAX_ABORTS; abort += 1) {
    await bucket.send(new AbortMultipartUploadCommand(upload), signal);
    // Fails where the upload is not known any more, which is what is hoped for.
    const { Parts = [] } = await bucket.send(new ListPartsCommand(upload), signal);
    if (Parts.length === 0) return;
  }
}

function tooManyParts(): ConnectorError {
  return new ConnectorError(
    'payload_too_large',
    `a file is at most ${MAX_PARTS} parts; larger ones (option part_mebibytes) make room for more`,
    { details: { maxParts: MAX_PARTS } },
  );
}
