import type { ConnectorError } from '../../errors/error.ts';
import type { FileMetadata } from '../../connectors/file/driver.ts';
import type { Opened } from './opened.ts';

/** A file below one side of a sync. */
export type FoundFile = {
  readonly kind: 'file';
  /** Where it stands in the order of paths. */
  readonly key: string;
  /** Relative to the side. */
  readonly path: string;
  readonly size: number;
  readonly modifiedMs: number;
  readonly etag?: string | undefined;
};

/** What a walk meets that is no file to copy; nothing of that name, nor below it, may be taken for gone. */
export type FoundOther =
  | { readonly kind: 'link' | 'special'; readonly key: string; readonly path: string }
  | { readonly kind: 'failed'; readonly key: string; readonly path: string; readonly error: ConnectorError };

export type Found = FoundFile | FoundOther;

/** How a file is written. */
export type WriteOptions = {
  /** Of the source, for sides that keep it. */
  readonly modifiedMs?: number | undefined;
  readonly overwrite?: boolean;
  readonly contentType?: string | undefined;
  readonly metadata?: FileMetadata | undefined;
};

/** A folder, of this machine or of a connector, that files are copied from or to. Paths are relative to it. */
export interface Side {
  /** As people write it. */
  readonly name: string;
  /** All files below, in order of the UTF-8 bytes of their paths. */
  list(): AsyncGenerator<Found>;
  open(path: string): Promise<Opened>;
  /** Whole or not at all. */
  write(path: string, content: AsyncIterable<Uint8Array>, options: WriteOptions): Promise<void>;
  remove(path: string): Promise<void>;
  /** Removes what no file needs any more. */
  tidy(): Promise<void>;
}
