import type { FileMetadata } from '../connectors/file/driver.ts';
import type { Answer, Operation } from '../operations/operation.ts';
import type { ConnectorRegistry } from '../registry/registry.ts';

/** What an operation is run with: its input in wire names, and the body of one that takes a stream. */
export type TransportCall = {
  readonly input: Readonly<Record<string, unknown>>;
  readonly content?: AsyncIterable<Uint8Array> | undefined;
};

/** The bytes of an answer. */
export type Bytes = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** A file that is being read: `body` is consumed or ended by whoever asked for it. */
export type Reading = {
  /** Absent where it is not known. */
  readonly size?: number;
  /** Absent where the backend keeps none. */
  readonly contentType?: string | undefined;
  readonly metadata?: FileMetadata | undefined;
  readonly body: Bytes;
};

/** The way from a command to an operation: in this process, or on a server. */
export interface Transport {
  /** The registry itself, where it is open in this process. */
  readonly registry: ConnectorRegistry | undefined;
  /** The operation's output in wire names. @throws ConnectorError. */
  run<Op extends Operation>(operation: Op, call: TransportCall): Promise<Answer<Op>>;
  /** The bytes of an operation that answers some, and what is known of them. @throws ConnectorError. */
  read(operation: Operation, call: TransportCall): Promise<Reading>;
  close(): Promise<void>;
}

/** True for an object with named fields. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
