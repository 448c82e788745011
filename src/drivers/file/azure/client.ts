import type {
  ByteRange,
  ClientListOptions,
  ClientWriteOptions,
  FileClient,
  FileInfo,
  FilePage,
  Note,
  OpenedFile,
  PresignedUrl,
  PresignOptions,
  WriteResult,
} from '../../../driver.ts';
import { writeBlob } from './blocks.ts';
import { copyBlob, deleteBlob, moveBlob, propertiesOf } from './copies.ts';
import { notAzure } from './errors.ts';
import { listPage } from './listing.ts';
import { probe } from './probe.ts';
import { infoOf, readBytes, readStream } from './reads.ts';
import type { Service } from './service.ts';
import { presigned, signing, type Signing } from './signing.ts';

/** The blobs of one container as files. */
export class AzureFiles implements FileClient {
  readonly #service: Service;
  readonly #signing: Signing;

  constructor(service: Service) {
    this.#service = service;
    this.#signing = signing(service);
  }

  async check(signal: AbortSignal): Promise<readonly Note[]> {
    return probe(this.#service, signal);
  }

  list(path: string, options: ClientListOptions, signal: AbortSignal): Promise<FilePage> {
    return listPage(this.#service, path, options, signal);
  }

  async stat(path: string, signal: AbortSignal): Promise<FileInfo> {
    const facts = await propertiesOf(this.#service, path, signal);
    if (facts.contentLength === undefined) throw notAzure();
    return infoOf(path, facts.contentLength, facts);
  }

  readBytes(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<Uint8Array> {
    return readBytes(this.#service, path, range, signal);
  }

  readStream(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<OpenedFile> {
    return readStream(this.#service, path, range, signal);
  }

  write(
    path: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options: ClientWriteOptions,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    return writeBlob(this.#service, path, content, options, signal);
  }

  delete(path: string, signal: AbortSignal): Promise<boolean> {
    return deleteBlob(this.#service, path, signal);
  }

  async copy(from: string, to: string, signal: AbortSignal): Promise<WriteResult> {
    const { path, size, etag } = await copyBlob(this.#service, this.#signing, [from, to], signal);
    return { path, size, ...(etag !== undefined && { etag }) };
  }

  move(from: string, to: string, signal: AbortSignal): Promise<WriteResult> {
    return moveBlob(this.#service, this.#signing, [from, to], signal);
  }

  presign(path: string, options: PresignOptions, signal: AbortSignal): Promise<PresignedUrl> {
    return presigned(this.#service, this.#signing, path, options, signal);
  }

  close(): Promise<void> {
    return this.#service.close();
  }
}
