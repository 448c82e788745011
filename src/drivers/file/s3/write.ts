import type { CompletedPart } from '@aws-sdk/client-s3';
import { until } from '../../../clouds/aws/sdk.ts';
import { ConnectorError, type ClientWriteOptions, type WriteResult } from '../../../driver.ts';
import { answeredWith, notS3 } from './errors.ts';
import { partsOfBytes, partsOfStream, type Part, type SpareParts } from './parts.ts';
import { bareEtag, etagNow } from './read.ts';
import { inParts } from './upload.ts';
import { conditionHeaders, describedBy, PARALLEL_PARTS, refusalOf, type Writing } from './writing.ts';

/**
 * Writes in one request what is small, and anything larger in parts.
 *
 * A condition holds in one request everywhere, and in parts where the store says so. Ceph 16 ignores it there (seen), so
 * that nothing but a refusal would be safe.
 */
export async function writeFile(
  writing: Writing,
  path: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
  options: ClientWriteOptions,
  signal: AbortSignal,
): Promise<WriteResult> {
  const { partBytes, conditionalParts } = writing;
  const condition = conditionOf(options);
  const isWholeOnly = condition !== undefined && !conditionalParts;
  if (content instanceof Uint8Array) {
    if (isWholeOnly || content.byteLength <= PARALLEL_PARTS * partBytes)
      return putWhole(writing, path, content, options, signal);
    const parts = partsOfBytes(content, partBytes);
    return putParts(writing, { path, options, next: async () => parts.next() }, signal);
  }
  const spare: SpareParts = [];
  const parts = partsOfStream(content, partBytes, spare);
  const first: Part[] = [];
  try {
    // What is kept of a stream with a condition is what is kept of any other that is on its way.
    while (first.length < (isWholeOnly ? PARALLEL_PARTS : 1)) {
      const step = await until(signal, () => parts.next());
      if (step.done === true) break;
      first.push(step.value);
      if (step.value.isLast) return await putWhole(writing, path, joined(first), options, signal);
    }
    if (isWholeOnly) throw tooLongFor(condition, PARALLEL_PARTS * partBytes);
    const next = () => {
      const ready = first.shift();
      return ready === undefined ? parts.next() : Promise.resolve({ done: false as const, value: ready });
    };
    return await putParts(writing, { path, options, next, spare }, signal);
  } finally {
    // Not awaited: a source that is stalled answers when its chunk comes, and that may be never.
    void parts.return(undefined).catch(() => {});
  }
}

type PartedFile = {
  readonly path: string;
  readonly options: ClientWriteOptions;
  readonly next: () => Promise<IteratorResult<Part, unknown>>;
  /** Where the memory of parts that have arrived goes. */
  readonly spare?: SpareParts;
};

async function putParts(
  writing: Writing,
  { path, options, next, spare }: PartedFile,
  signal: AbortSignal,
): Promise<WriteResult> {
  const { bucket, partBytes } = writing;
  const { UploadPartCommand } = bucket.sdk;
  let size = 0;
  const send = async (id: string, number: number, { bytes }: Part, either: AbortSignal) => {
    size += bytes.byteLength;
    const part = { Bucket: bucket.name, Key: path, UploadId: id, PartNumber: number, Body: bytes };
    const { ETag, ChecksumCRC32 } = await bucket.send(new UploadPartCommand(part), either);
    if (ETag === undefined) throw notS3();
    if (bytes.byteLength === partBytes) spare?.push(bytes);
    const sent: CompletedPart = { PartNumber: number, ETag };
    return ChecksumCRC32 === undefined ? sent : { ...sent, ChecksumCRC32 };
  };
  try {
    const job = { path, described: describedBy(writing, options), next, send };
    const etag = await inParts(writing, { ...job, condition: conditionHeaders(options) }, signal);
    return { path, size, ...(etag !== undefined && { etag }) };
  } catch (error) {
    throw await refusalOf(error, writing, path, options, signal);
  }
}

async function putWhole(
  writing: Writing,
  path: string,
  bytes: Uint8Array,
  options: ClientWriteOptions,
  signal: AbortSignal,
): Promise<WriteResult> {
  try {
    return await put(writing, path, bytes, { ...options, headers: conditionHeaders(options) }, signal);
  } catch (error) {
    const { ifMatch } = options;
    if (ifMatch !== undefined && !writing.isAmazon && [412, 500].includes(answeredWith(error).status ?? 0))
      return putOverBareEtag(writing, path, bytes, { ...options, ifMatch }, signal);
    throw await refusalOf(error, writing, path, options, signal);
  }
}

/**
 * Ceph 16 compares the etag with its quotes to its own without, and answers 412 to every condition that has them; to all
 * but one of those who replace a content at once it answers 500 (both seen). So a refusal is looked into: where the
 * content is still the one with the etag, the condition is sent again without the quotes, as it then is right.
 */
async function putOverBareEtag(
  writing: Writing,
  path: string,
  bytes: Uint8Array,
  options: ClientWriteOptions & { readonly ifMatch: string },
  signal: AbortSignal,
): Promise<WriteResult> {
  const { ifMatch } = options;
  const isStill = async () => (await etagNow(writing.bucket, path, signal)) === ifMatch;
  const conflict = () => new ConnectorError('conflict', 'the file is not the one with that etag');
  if (!(await isStill())) throw conflict();
  try {
    return await put(writing, path, bytes, { ...options, headers: { IfMatch: ifMatch } }, signal);
  } catch (error) {
    if (answeredWith(error).status === 500 && !(await isStill())) throw conflict();
    throw await refusalOf(error, writing, path, options, signal);
  }
}

async function put(
  writing: Writing,
  path: string,
  bytes: Uint8Array,
  options: ClientWriteOptions & { readonly headers: ReturnType<typeof conditionHeaders> },
  signal: AbortSignal,
): Promise<WriteResult> {
  const { bucket } = writing;
  const { PutObjectCommand } = bucket.sdk;
  const { ETag } = await bucket.send(
    new PutObjectCommand({
      Bucket: bucket.name,
      Key: path,
      Body: bytes,
      ...describedBy(writing, options),
      ...options.headers,
    }),
    signal,
  );
  if (ETag === undefined) throw notS3();
  return { path, size: bytes.byteLength, etag: bareEtag(ETag) };
}

function joined(parts: readonly Part[]): Uint8Array {
  const [only] = parts;
  return parts.length === 1 && only !== undefined
    ? only.bytes
    : Buffer.concat(parts.map(({ bytes }) => bytes));
}

function conditionOf({ ifNoneMatch, ifMatch }: ClientWriteOptions): 'createOnly' | 'ifMatch' | undefined {
  if (ifNoneMatch !== undefined) return 'createOnly';
  return ifMatch === undefined ? undefined : 'ifMatch';
}

function tooLongFor(capability: 'createOnly' | 'ifMatch', maxBytes: number): ConnectorError {
  return new ConnectorError(
    'unsupported',
    `a stream with a condition is at most ${maxBytes} bytes here, or give its bytes: this store may not hold the condition for parts (option conditional_parts)`,
    { details: { capability, maxBytes } },
  );
}
