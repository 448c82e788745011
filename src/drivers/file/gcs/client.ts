import {
  type ByteRange,
  type ClientListOptions,
  type ClientWriteOptions,
  ConnectorError,
  type FileClient,
  type FileInfo,
  type FilePage,
  type Note,
  type OpenedFile,
  type PresignedUrl,
  type PresignOptions,
  type WriteResult,
} from '../../../driver.ts';
import { z } from 'zod';
import { type Api, objectPath } from './api.ts';
import { isMissingFile } from './errors.ts';
import { listPage } from './listing.ts';
import {
  assertName,
  fileInfo,
  objectResource,
  type ObjectResource,
  OBJECT_FIELDS,
  writeResult,
} from './object.ts';
import { readBytes, readStream } from './read.ts';
import type { Cancellations } from './session.ts';
import { upload } from './upload.ts';

/** What a client is made of. */
export type GcsParts = {
  readonly api: Api;
  readonly cancellations: Cancellations;
  /** Absent where no key is at hand that could sign. */
  readonly sign?: ((path: string, options: PresignOptions) => PresignedUrl) | undefined;
  readonly check: (signal: AbortSignal) => Promise<readonly Note[]>;
  readonly close: () => Promise<void>;
};

const rewriteAnswer = z.discriminatedUnion('done', [
  z.object({ done: z.literal(true), resource: objectResource }),
  z.object({ done: z.literal(false), rewriteToken: z.string().min(1) }),
]);

/** One bucket, by the JSON API. */
export class GcsClient implements FileClient {
  readonly #parts: GcsParts;

  constructor(parts: GcsParts) {
    this.#parts = parts;
  }

  async list(path: string, options: ClientListOptions, signal: AbortSignal): Promise<FilePage> {
    return listPage(this.#parts.api, path, options, signal);
  }

  async stat(path: string, signal: AbortSignal): Promise<FileInfo> {
    return fileInfo(await this.#describe(path, signal), path);
  }

  async readBytes(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<Uint8Array> {
    return readBytes(this.#parts.api, path, range, signal);
  }

  async readStream(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<OpenedFile> {
    return readStream(this.#parts.api, path, {
      range,
      signal,
      describe: () => this.#describe(path, signal),
    });
  }

  async write(
    path: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options: ClientWriteOptions,
    signal: AbortSignal,
  ): Promise<WriteResult> {
    assertName(path);
    const { api, cancellations } = this.#parts;
    return writeResult(path, await upload({ api, cancellations, name: path, options }, content, signal));
  }

  async delete(path: string, signal: AbortSignal): Promise<boolean> {
    const { api } = this.#parts;
    const subject = { bucket: api.bucket, names: 'file' } as const;
    try {
      const request = { method: 'DELETE', path: objectPath(api.bucket, path), subject } as const;
      await (await api.send(request, signal)).body?.cancel();
      return true;
    } catch (error) {
      if (isMissingFile(error)) return false;
      throw error;
    }
  }

  /** Large files, and those of other classes or places, are copied in several steps. */
  async copy(from: string, to: string, signal: AbortSignal): Promise<WriteResult> {
    assertName(to);
    const { api } = this.#parts;
    const destination = objectPath(api.bucket, to).slice('/storage/v1'.length);
    for (let rewriteToken: string | undefined; ;) {
      const answer = await api.json(
        {
          method: 'POST',
          path: `${objectPath(api.bucket, from)}/rewriteTo${destination}`,
          query: { fields: `done,rewriteToken,resource(${OBJECT_FIELDS})`, rewriteToken },
          subject: { bucket: api.bucket, names: 'file' },
        },
        rewriteAnswer,
        signal,
      );
      if (answer.done) return writeResult(to, answer.resource);
      rewriteToken = answer.rewriteToken;
    }
  }

  /** By the backend, in one step: nobody sees both files, or none. */
  async move(from: string, to: string, signal: AbortSignal): Promise<WriteResult> {
    assertName(to);
    const { api } = this.#parts;
    // "The source and destination must have different object names."
    if (from === to) return writeResult(to, await this.#describe(from, signal));
    const object = await api.json(
      {
        method: 'POST',
        path: `${objectPath(api.bucket, from)}/moveTo/o/${encodeURIComponent(to)}`,
        query: { fields: OBJECT_FIELDS },
        subject: { bucket: api.bucket, names: 'file' },
      },
      objectResource,
      signal,
    );
    return writeResult(to, object);
  }

  async presign(path: string, options: PresignOptions): Promise<PresignedUrl> {
    assertName(path);
    const { sign } = this.#parts;
    if (sign === undefined)
      throw new ConnectorError(
        'unsupported',
        'only a connector with a service_account_key can sign addresses: neither the identity of a host nor a workload identity has a key of its own',
        { details: { capability: 'presign' } },
      );
    return sign(path, options);
  }

  async check(signal: AbortSignal): Promise<readonly Note[]> {
    return this.#parts.check(signal);
  }

  async close(): Promise<void> {
    await this.#parts.cancellations.settled();
    await this.#parts.close();
  }

  async #describe(path: string, signal: AbortSignal): Promise<ObjectResource> {
    const { api } = this.#parts;
    return api.json(
      {
        method: 'GET',
        path: objectPath(api.bucket, path),
        query: { fields: OBJECT_FIELDS },
        subject: { bucket: api.bucket, names: 'file' },
      },
      objectResource,
      signal,
    );
  }
}
