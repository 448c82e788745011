import type { z } from 'zod';
import type { Client, Driver, OpenContext } from '../../contract/driver.ts';

/** What is known of one file or folder. */
export type FileInfo = {
  /** The last segment of the path. */
  readonly name: string;
  /** Relative to the connector's root, separated by `/`, without a leading or trailing one. */
  readonly path: string;
  /** Bytes; 0 for a folder. */
  readonly size: number;
  readonly lastModified: Date;
  readonly etag?: string;
  readonly contentType?: string;
  /** What the writer said about the file; a listing leaves it out where the backend does. */
  readonly metadata?: FileMetadata;
  readonly isDirectory: boolean;
};

/** A writer's own words about a file: names of lower-case letters, digits and `_` to texts, 2,048 bytes in all. */
export type FileMetadata = Readonly<Record<string, string>>;

/** One page of a listing; without `nextCursor` it is the last. */
export type FilePage = { readonly files: readonly FileInfo[]; readonly nextCursor?: string };

/** Bytes `start` to `end`, both inclusive and counted from 0; no `end` means to the end of the file. */
export type ByteRange = { readonly start: number; readonly end?: number };

/** What a file backend can do. The connector refuses everything else before any I/O. */
export type FileCapabilities = {
  readonly ranges: boolean;
  /** `ifNoneMatch: '*'` is atomic: of many writers exactly one succeeds. */
  readonly createOnly: boolean;
  /** `ifMatch` is atomic: of many writers that saw one content exactly one replaces it. */
  readonly ifMatch: boolean;
  /** Whether a reader sees the old or the new whole at every moment; otherwise the file may be missing in between. */
  readonly atomicReplace: boolean;
  readonly copy: boolean;
  readonly move: boolean;
  /** Who signs and answers the addresses of `presign`: the backend, or our server where there is one. */
  readonly presignedBy: 'backend' | 'server';
  /** What such an address can be tied to; our server ties it to all of them. */
  readonly presignConditions: readonly PresignCondition[];
  /** Whether the content type given to a write comes back. */
  readonly contentType: boolean;
  /** Whether the metadata given to a write comes back. */
  readonly metadata: boolean;
  readonly limits: { readonly pathBytes: number; readonly fileBytes: number };
};

/** What a signed address may be tied to besides its file, method and time. */
export type PresignCondition = 'contentType' | 'maxBytes';

/** For drivers whose backend signs nothing. */
export const PRESIGNED_BY_SERVER = {
  presignedBy: 'server',
  presignConditions: ['contentType', 'maxBytes'],
} as const satisfies Partial<FileCapabilities>;

/** A listing as the client gets it. */
export type ClientListOptions = {
  readonly recursive: boolean;
  /** Entries at most in the page. */
  readonly limit: number;
  /** What an earlier page answered as `nextCursor`. */
  readonly cursor?: string | undefined;
};
/** A write as the client gets it: only what the capabilities declare. */
export type ClientWriteOptions = {
  readonly contentType?: string | undefined;
  readonly ifNoneMatch?: '*' | undefined;
  /** The etag that the file must have now. */
  readonly ifMatch?: string | undefined;
  readonly metadata?: FileMetadata | undefined;
};
/** What was written, as it lies on the backend now. */
export type WriteResult = { readonly path: string; readonly size: number; readonly etag?: string };
/** A file that is being read: the facts of the whole, and the bytes that were asked for. */
export type OpenedFile = { readonly info: FileInfo; readonly body: AsyncIterable<Uint8Array> };
/** What a signed address is for, and for how long. */
export type PresignOptions = {
  readonly method: 'GET' | 'PUT';
  readonly expiresInSeconds: number;
  /** Of what is put. */
  readonly contentType?: string | undefined;
  /** Of what is put, at most. */
  readonly maxBytes?: number | undefined;
};
/** An address that whoever holds it may use once or often, with the headers that have to be sent along. */
export type PresignedUrl = {
  readonly url: string;
  readonly method: 'GET' | 'PUT';
  readonly headers: Readonly<Record<string, string>>;
  readonly expiresAt: Date;
};

/**
 * One method per operation. Every path has passed the path rule (`path.ts`) and is canonical: no leading or trailing
 * `/`, no empty, `.` or `..` segment; `''` is the root and occurs in `list` alone.
 */
export interface FileClient extends Client {
  /**
   * Entries below `path` in path order: by UTF-8 bytes of the full path, a folder's with a trailing `/`, which is where
   * its content lies in a recursive page. Recursive pages hold files alone. A folder that does not exist holds nothing.
   */
  list(path: string, options: ClientListOptions, signal: AbortSignal): Promise<FilePage>;
  /** @throws ConnectorError `not_found`, also for a folder. */
  stat(path: string, signal: AbortSignal): Promise<FileInfo>;
  /** The whole file, or the range, in memory. @throws ConnectorError `invalid_argument` for a range that starts at or after the end. */
  readBytes(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<Uint8Array>;
  /** The file as a stream; the caller consumes or ends the body, and either frees what it holds. */
  readStream(path: string, range: ByteRange | undefined, signal: AbortSignal): Promise<OpenedFile>;
  /** Whole or not at all, durable when it resolves. @throws ConnectorError `already_exists` under `ifNoneMatch`, `conflict` under `ifMatch`. */
  write(
    path: string,
    content: Uint8Array | AsyncIterable<Uint8Array>,
    options: ClientWriteOptions,
    signal: AbortSignal,
  ): Promise<WriteResult>;
  /** False where there was none. */
  delete(path: string, signal: AbortSignal): Promise<boolean>;
  copy?(from: string, to: string, signal: AbortSignal): Promise<WriteResult>;
  move?(from: string, to: string, signal: AbortSignal): Promise<WriteResult>;
  presign?(path: string, options: PresignOptions, signal: AbortSignal): Promise<PresignedUrl>;
}

/** A driver of a file backend. */
export type FileDriver<Options extends z.ZodObject = z.ZodObject> = Driver<
  'file',
  FileCapabilities,
  Options,
  FileClient,
  OpenContext
>;

/** A file driver, with the type of its options carried into `open`. */
export function defineFileDriver<Options extends z.ZodObject>(
  driver: FileDriver<Options>,
): FileDriver<Options> {
  return Object.freeze(driver);
}
