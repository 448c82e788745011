/** How a failure may be recovered from: `never` repeated, `always` repeatable, or only an operation that is `safe` to repeat. */
export type Recovery = 'never' | 'safe' | 'always';

type CodeRow = {
  /** The HTTP status that the server answers with. */
  readonly status: number;
  readonly recovery: Recovery;
  /** True when the failure is evidence that the backend itself is sick: what the circuit breaker counts. */
  readonly sick?: true;
  readonly summary: string;
};

/**
 * The closed set of error codes: the one place that says what each means to HTTP, to retry and to the breaker.
 *
 * `rate_limited` is `always`: whoever limits says that nothing was done.
 */
export const ERROR_CODES = {
  invalid_argument: {
    status: 400,
    recovery: 'never',
    summary: 'A field is missing, unknown or out of range.',
  },
  unauthenticated: { status: 401, recovery: 'never', summary: 'No API key was given, or it is not valid.' },
  permission_denied: { status: 403, recovery: 'never', summary: 'The caller may not do this.' },
  egress_denied: {
    status: 403,
    recovery: 'never',
    summary: 'The address is not one that a connector may reach.',
  },
  not_found: {
    status: 404,
    recovery: 'never',
    summary: 'There is no such thing, or it belongs to another tenant.',
  },
  already_exists: { status: 409, recovery: 'never', summary: 'The name is taken.' },
  invalid_state: { status: 409, recovery: 'never', summary: 'The status does not allow this.' },
  conflict: { status: 412, recovery: 'never', summary: 'A precondition of the request does not hold.' },
  payload_too_large: { status: 413, recovery: 'never', summary: 'The content is over the limit.' },
  unsupported: {
    status: 422,
    recovery: 'never',
    summary: 'The backend lacks this capability or filter operator.',
  },
  auth_failed: {
    status: 424,
    recovery: 'never',
    summary: "The backend refused the connector's credentials.",
  },
  rate_limited: {
    status: 429,
    recovery: 'always',
    summary: 'Too many requests; retryAfterMs says when to come back.',
  },
  cancelled: { status: 499, recovery: 'never', summary: 'The caller ended the wait.' },
  internal: { status: 500, recovery: 'never', summary: 'A fault of this product.' },
  backend_error: { status: 502, recovery: 'never', summary: 'Anything else that the backend said.' },
  unavailable: {
    status: 503,
    recovery: 'safe',
    sick: true,
    summary: 'The backend cannot be reached or is down.',
  },
  circuit_open: {
    status: 503,
    recovery: 'never',
    summary: 'The backend failed repeatedly and is being left alone.',
  },
  timeout: { status: 504, recovery: 'safe', sick: true, summary: 'No answer within the time limit.' },
} as const satisfies Readonly<Record<string, CodeRow>>;

/** One of the codes of {@link ERROR_CODES}: what a caller branches on. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** The row of a code, with optional columns visible. */
export function codeRow(code: ErrorCode): CodeRow {
  return ERROR_CODES[code];
}
