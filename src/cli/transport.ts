import type { Answer, Operation } from '../operations/operation.ts';
import type { ConnectorRegistry } from '../registry/registry.ts';

/** What an operation is run with: its input in wire names, and the body of one that takes a stream. */
export type TransportCall = {
  readonly input: Readonly<Record<string, unknown>>;
  readonly content?: AsyncIterable<Uint8Array> | undefined;
};

/** The bytes of an answer. */
export type Bytes = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** The way from a command to an operation: in this process, or on a server. */
export interface Transport {
  /** The registry itself, where it is open in this process. */
  readonly registry: ConnectorRegistry | undefined;
  /** The operation's output in wire names. @throws ConnectorError. */
  run<Op extends Operation>(operation: Op, call: TransportCall): Promise<Answer<Op>>;
  /** The bytes of an operation that answers some, and how many they are where that is known. @throws ConnectorError. */
  read(operation: Operation, call: TransportCall): Promise<{ readonly size?: number; readonly body: Bytes }>;
  close(): Promise<void>;
}

/** True for an object with named fields. */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
