import { codeRow, type ErrorCode } from './codes.ts';

/** One bad field: its dotted path, such as `config.timeout_seconds` or `records[3].values`, and what was expected. */
export type FieldIssue = { readonly path: string; readonly message: string };

export type ConnectorErrorOptions = {
  readonly connectorId?: string | undefined;
  readonly connectorType?: string | undefined;
  readonly cause?: unknown;
  /** JSON-safe facts: ids, counts, limits, the backend's own code. No payloads, no credentials. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** The bad fields of an `invalid_argument`. */
  readonly issues?: readonly FieldIssue[];
  /** Milliseconds before which a repetition is pointless. */
  readonly retryAfterMs?: number;
};

const MARK = Symbol.for('connector-registry.ConnectorError');

/** The only error class that leaves this package. Branch on `code`. */
export class ConnectorError extends Error {
  override readonly name = 'ConnectorError';
  readonly code: ErrorCode;
  readonly connectorId: string | undefined;
  readonly connectorType: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;
  readonly issues: readonly FieldIssue[];
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: ConnectorErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.connectorId = options.connectorId;
    this.connectorType = options.connectorType;
    this.details = options.details ?? {};
    this.issues = options.issues ?? [];
    this.retryAfterMs = options.retryAfterMs;
    // Not enumerable: the cause may hold what a backend said, and must not be printed along with the error's own fields.
    Object.defineProperty(this, MARK, { value: true });
  }

  /** Whether the same call may succeed later, as the table of codes says. */
  get retryable(): boolean {
    return codeRow(this.code).recovery !== 'never';
  }

  /** The error as data, in wire names. Holds no cause, no stack and no secret. */
  toDict(): Record<string, unknown> {
    return {
      error: this.message,
      code: this.code,
      retryable: this.retryable,
      connector_id: this.connectorId ?? null,
      connector_type: this.connectorType ?? null,
      ...(this.issues.length > 0 && { issues: this.issues }),
      ...(this.retryAfterMs !== undefined && { retry_after_ms: this.retryAfterMs }),
      ...(Object.keys(this.details).length > 0 && { details: this.details }),
    };
  }

  toJSON(): Record<string, unknown> {
    return this.toDict();
  }

  /** The same error naming the connector that it happened on; unchanged where it names one already. */
  onConnector(connectorId: string, connectorType: string, label = connectorId): ConnectorError {
    if (this.connectorId !== undefined) return this;
    return new ConnectorError(this.code, `${label}: ${this.message}`, {
      connectorId,
      connectorType,
      cause: this.cause ?? this,
      details: this.details,
      issues: this.issues,
      ...(this.retryAfterMs !== undefined && { retryAfterMs: this.retryAfterMs }),
    });
  }
}

/** True for an error of this package, also one that another copy of it made. */
export function isConnectorError(error: unknown): error is ConnectorError {
  return typeof error === 'object' && error !== null && MARK in error;
}

/** An `invalid_argument` that names one bad field. */
export function invalidField(path: string, message: string): ConnectorError {
  return new ConnectorError('invalid_argument', `${path} ${message}`, { issues: [{ path, message }] });
}

/** The error itself where it is one of ours, otherwise an `internal` that carries it as its cause. */
export function asConnectorError(error: unknown, code: ErrorCode = 'internal'): ConnectorError {
  if (isConnectorError(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new ConnectorError(code, message.slice(0, 300), { cause: error });
}
