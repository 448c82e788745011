import type { z } from 'zod';
import type { Client, Driver, OpenContext } from '../../contract/driver.ts';

/** Anything that JSON can say. */
export type JsonValue =
  string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/** What is known of one function. */
export type FunctionInfo = {
  readonly name: string;
  readonly runtime?: string;
  readonly memoryMb?: number;
  readonly timeoutSeconds?: number;
  readonly lastModified?: Date;
  readonly description?: string;
};

/** What a function threw, as data. */
export type FunctionFailure = { readonly name: string; readonly message: string; readonly stack?: string };

/** How one run ended. A function that threw has `failed`; that is an answer, not an error of the connector. */
export type InvocationOutcome = {
  readonly status: 'completed' | 'failed';
  readonly result?: JsonValue;
  readonly error?: FunctionFailure;
  readonly logs?: string;
  readonly durationMs?: number;
};

/** One run of a function as the client gets it. */
export type ClientInvocation = {
  /** Our id of the invocation, the same for each attempt, handed to the function so that it can be idempotent. */
  readonly requestId: string;
  /** The function's own time limit, in milliseconds. */
  readonly timeoutMs: number;
};

/** The source of a function: one module's text, or a file or folder of the host (administrators and libraries only). */
export type FunctionSource =
  { readonly code: string; readonly filename?: string } | { readonly path: string };

/** What a functions backend can do. The connector refuses everything else before any I/O. */
export type ServerlessCapabilities = {
  readonly deploy: boolean;
  readonly limits: {
    /** Bytes of the payload, and of the result, as JSON. */
    readonly payloadBytes: number;
    readonly timeoutSeconds: number;
  };
};

/** One method per operation. The connector has validated every argument and checked it against the capabilities. */
export interface ServerlessClient extends Client {
  /**
   * Runs a function once.
   *
   * @throws ConnectorError `not_found` for an unknown function, `timeout` when its time is over, `payload_too_large`
   *   when its result is over the limit.
   */
  invoke(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<InvocationOutcome>;
  listFunctions(signal: AbortSignal): Promise<readonly FunctionInfo[]>;
  /** Replaces the function as a whole, or leaves the old one. @throws ConnectorError `invalid_argument` when it does not build. */
  deploy?(name: string, source: FunctionSource, signal: AbortSignal): Promise<FunctionInfo>;
  /** False where there was none. */
  remove?(name: string, signal: AbortSignal): Promise<boolean>;
}

/** A driver of a functions backend. */
export type ServerlessDriver<Options extends z.ZodObject = z.ZodObject> = Driver<
  'serverless',
  ServerlessCapabilities,
  Options,
  ServerlessClient,
  OpenContext
>;

/** A serverless driver, with the type of its options carried into `open`. */
export function defineServerlessDriver<Options extends z.ZodObject>(
  driver: ServerlessDriver<Options>,
): ServerlessDriver<Options> {
  return Object.freeze(driver);
}
