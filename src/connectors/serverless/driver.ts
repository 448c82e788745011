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
  /** Which of its versions runs. */
  readonly version?: string;
  /** The versions that can run again, newest first. */
  readonly versions?: readonly string[];
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
  /** The function's own time limit, in milliseconds; the client ends the call then, see `withinTime`. */
  readonly timeoutMs: number;
  /** Where the platform may report the end of a run that it carries on; absent where the registry has no address. */
  readonly callbackUrl?: string;
  /** For `start`: the function may run once only, so nothing is started of which starting twice could start two. */
  readonly once?: true;
};

/** A run that the platform itself carries on and remembers. */
export type NativeRun = {
  /** What the platform calls such a run: `durable execution`, `workflow instance`. */
  readonly kind: string;
  /** What `follow` finds it by; at most 2,048 characters, no secret. */
  readonly id: string;
};

/** How a run that the platform carried on has ended. */
export type NativeOutcome = Omit<InvocationOutcome, 'status'> & {
  readonly status: InvocationOutcome['status'] | 'timed_out' | 'cancelled';
};

/** What a platform sent to `callbackUrl`. */
export type FunctionCallback = {
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Uint8Array;
};

/**
 * The source of a function: one module's text, several files by their relative path (with an `index` file, or a single
 * one), a version that was deployed before, or a file or folder of the host (administrators and libraries only).
 */
export type FunctionSource =
  | { readonly code: string; readonly filename?: string }
  | { readonly files: Readonly<Record<string, string>> }
  | { readonly version: string }
  | { readonly path: string };

/** One thing that a function wrote. */
export type FunctionLog = {
  readonly at: Date;
  readonly requestId?: string;
  readonly text: string;
};

/** What a functions backend can do. The connector refuses everything else before any I/O. */
export type ServerlessCapabilities = {
  readonly deploy: boolean;
  /** What functions wrote can be asked for later. */
  readonly logs: boolean;
  /** Some functions run on the platform's own account once started: with `follow` it is asked how, with `callback` it says so. */
  readonly native: false | 'follow' | 'callback';
  readonly limits: {
    /** Bytes of the payload as JSON. */
    readonly payloadBytes: number;
    /** Bytes of the result as JSON; those of the payload unless given. */
    readonly resultBytes?: number;
    readonly timeoutSeconds: number;
  };
};

/** One method per operation. The connector has validated every argument and checked it against the capabilities. */
export interface ServerlessClient extends Client {
  /**
   * Runs a function once and waits for its end.
   *
   * A failure before the function can have been reached says so with `details.sent: false`, which lets an invocation
   * that may run only once be tried again; so do `rate_limited` and every code that is about the request itself.
   *
   * @throws ConnectorError `not_found` for an unknown function, `timeout` when its time is over, `payload_too_large`
   *   when its result is over the limit, `rate_limited` with the platform's wait, `auth_failed`, `unavailable`.
   */
  invoke(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<InvocationOutcome>;
  listFunctions(signal: AbortSignal): Promise<readonly FunctionInfo[]>;
  /**
   * Starts a run that the platform carries on by itself; `undefined` where this function is of a kind that is only
   * called, and nothing was sent. Starting twice with one `requestId` must not run the function twice where the platform can tell.
   */
  start?(
    name: string,
    payload: JsonValue,
    invocation: ClientInvocation,
    signal: AbortSignal,
  ): Promise<NativeRun | undefined>;
  /** How a started run ended; `undefined` while it goes on. @throws ConnectorError `not_found` when the platform no longer knows it. */
  follow?(name: string, run: NativeRun, signal: AbortSignal): Promise<NativeOutcome | undefined>;
  /** Asks the platform to end a started run; one that has ended is none of its business. */
  stop?(name: string, run: NativeRun, signal: AbortSignal): Promise<void>;
  /** What a function wrote, newest last; at most `limit` entries. */
  logs?(name: string, limit: number, signal: AbortSignal): Promise<readonly FunctionLog[]>;
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
> & {
  /**
   * What a platform with `native: 'callback'` says of the end of a run.
   *
   * Not the client's: a platform says it once, perhaps when it cannot be reached itself, and it has to count even then.
   *
   * @throws ConnectorError `invalid_argument` where it says nothing, `payload_too_large` where the result is over the limit.
   */
  readonly outcomeOf?: (callback: FunctionCallback) => NativeOutcome;
};

/** A serverless driver, with the type of its options carried into `open`. */
export function defineServerlessDriver<Options extends z.ZodObject>(
  driver: ServerlessDriver<Options>,
): ServerlessDriver<Options> {
  return Object.freeze(driver);
}
