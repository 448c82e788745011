import type { z } from 'zod';
import { parseWith } from '../contract/validate.ts';
import { ConnectorError, invalidField, isConnectorError } from '../errors/error.ts';
import type { FileMetadata } from '../connectors/file/driver.ts';
import type { ConnectorRegistry } from '../registry/registry.ts';
import { tenantId as tenantIdSchema } from '../registry/spec.ts';
import type { TenantView } from '../registry/tenant.ts';
import type { Role } from '../store/store.ts';

/** Who runs an operation. `tenantId` null is an administrator of all tenants, who names one where it is needed. */
export type Caller = { readonly tenantId: string | null; readonly role: Role };

/** What a surface brings along to run an operation. */
export type OperationContext = {
  readonly registry: ConnectorRegistry;
  readonly caller: Caller;
  /** Aborted when the caller has gone. */
  readonly signal: AbortSignal;
  /** The body of an operation whose request is `bytes` or `ndjson`. */
  readonly content?: AsyncIterable<Uint8Array>;
};

/** What `run` is given: the tenant is settled and the role is checked. */
export type RunContext = Required<OperationContext> & {
  /** Null only where the operation's tenant is not `required` and none was named. */
  readonly tenantId: string | null;
  /** The registry as the tenant sees it. @throws ConnectorError `invalid_argument` where no tenant was named. */
  tenant(): TenantView;
};

/** A file as an answer: `body` is absent for a HEAD request and where nothing changed. */
export type BytesAnswer = {
  readonly size: number;
  readonly lastModified: Date;
  readonly etag?: string | undefined;
  readonly contentType?: string | undefined;
  /** What the writer said about the file. */
  readonly metadata?: FileMetadata | undefined;
  /** The part of the file that the body holds, both ends included; absent: the whole. */
  readonly range?: { readonly start: number; readonly end: number } | undefined;
  /** The caller's copy is current: no body. */
  readonly notModified?: boolean;
  readonly body?: AsyncIterable<Uint8Array> | undefined;
};

/** An input field that HTTP carries as a header instead of in the query or the body. */
export type HeaderField = {
  /** `X-Meta-*` for metadata: a header for each of its names. */
  readonly header: string;
  readonly field: string;
  /** The field's value for a header's text; the text itself where there is none. */
  readonly read?: (text: string) => unknown;
};

/** How a surface shows the success of one call when it is not plain 200. */
export type Reply = { readonly status?: 200 | 201 | 202; readonly location?: string };

/** A schema of an object, or a choice of several by one of their fields. */
export type InputSchema = z.ZodType<Readonly<Record<string, unknown>>>;

type Declared<Input extends InputSchema> = {
  /** Dotted, stable: `vector.search`. */
  readonly id: string;
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below `/api/v1`, parameters as `{name}`; `{name+}` takes the rest of the path. */
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  /** The least role that may run it. */
  readonly role: Role;
  /** Whether it is about one tenant, about one or all, about none, or about all: that is for administrators of all alone. */
  readonly tenant: 'required' | 'optional' | 'none' | 'all';
  /** Every field in wire names: of the path, the headers, and of the query (GET, HEAD, DELETE and bytes) or the JSON body. */
  readonly input: Input;
  readonly headers?: readonly HeaderField[];
  /** What the request's body is; `json` unless told. */
  readonly request?: 'json' | 'bytes' | 'ndjson';
  /** Bytes of a JSON body at most; 1 MiB unless told. */
  readonly bodyLimitBytes?: number;
};

type JsonOperation<Input extends InputSchema, Output extends z.ZodType> = Declared<Input> & {
  readonly output: Output;
  reply?(output: z.input<Output>, input: z.output<Input>): Reply;
  /** Every status that `reply` may answer, the usual one first. */
  readonly statuses?: readonly (200 | 201 | 202)[];
  run(context: RunContext, input: z.output<Input>): Promise<z.input<Output>>;
};

type BytesOperation<Input extends InputSchema> = Declared<Input> & {
  readonly output: 'bytes';
  run(context: RunContext, input: z.output<Input>): Promise<BytesAnswer>;
};

/** One thing that the product does. REST, OpenAPI and the command line are projections of a list of these. */
export type Operation = JsonOperation<InputSchema, z.ZodType> | BytesOperation<InputSchema>;

/** An operation that answers JSON, with the types of its schemas carried into `run`. */
export function defineOperation<Input extends InputSchema, Output extends z.ZodType>(
  operation: JsonOperation<Input, Output>,
): JsonOperation<Input, Output> {
  return Object.freeze(operation);
}

/** An operation that answers the bytes of a file. */
export function defineBytesOperation<Input extends InputSchema>(
  operation: Omit<BytesOperation<Input>, 'output'>,
): BytesOperation<Input> {
  return Object.freeze({ ...operation, output: 'bytes' as const });
}

/**
 * Runs an operation without HTTP: checks the role, settles the tenant, validates the input, and answers the output.
 *
 * `raw` holds the operation's input in wire names, and `tenant_id` beside it where an administrator names a tenant.
 *
 * @throws ConnectorError `permission_denied` for a role too low or another tenant than the caller's own;
 *   `invalid_argument` with paths in wire names; whatever the operation's own calls throw.
 */
export async function runOperation<Op extends Operation>(
  operation: Op,
  { registry, caller, signal, content = EMPTY }: OperationContext,
  raw: Readonly<Record<string, unknown>>,
): Promise<Answer<Op>> {
  checkRole(operation, caller);
  const { tenant_id: named, ...fields } = raw;
  const tenantId = settleTenant(operation, caller, named);
  const input = parseWith(operation.input, fields);
  const context: RunContext = {
    registry,
    caller,
    signal,
    content,
    tenantId,
    tenant() {
      if (tenantId === null) throw invalidField('tenant_id', 'is needed: this key is of no single tenant');
      // References and folders of the host are the operator's; an administrator of one tenant is not that.
      return registry.forTenant(tenantId, { admin: isOperatorOfAll(caller) });
    },
  };
  try {
    // The operation's own run and schemas agree by `defineOperation`; only the list's common type has lost that.
    return (await operation.run(context, input)) as Answer<Op>;
  } catch (error) {
    throw inWireNames(error);
  }
}

/** What an operation answers. */
export type Answer<Op extends Operation> = Awaited<ReturnType<Op['run']>>;

/** True for a caller who administers all tenants. */
export function isOperatorOfAll({ tenantId, role }: Caller): boolean {
  return tenantId === null && role === 'admin';
}

const RANK: Readonly<Record<Role, number>> = { reader: 0, operator: 1, admin: 2 };

function checkRole({ id, role }: Operation, caller: Caller): void {
  if (RANK[caller.role] >= RANK[role]) return;
  throw new ConnectorError('permission_denied', `${id} needs the role ${role}; this key is ${caller.role}`);
}

/** Decided before anything is looked up, so that the answer is the same whether the other tenant exists or not. */
function settleTenant({ id, tenant }: Operation, caller: Caller, named: unknown): string | null {
  const asked = named === undefined ? undefined : parseWith(tenantIdSchema, named, 'tenant_id');
  if (tenant === 'all' && caller.tenantId !== null)
    throw new ConnectorError(
      'permission_denied',
      `${id} is for administrators of all tenants; this key is of one`,
    );
  if (tenant === 'none' || tenant === 'all') {
    if (asked !== undefined) throw invalidField('tenant_id', 'is not a known field');
    return null;
  }
  if (caller.tenantId === null) {
    if (asked === undefined && tenant === 'required')
      throw invalidField('tenant_id', 'is needed: this key is of no single tenant');
    return asked ?? null;
  }
  if (asked === undefined || asked === caller.tenantId) return caller.tenantId;
  throw new ConnectorError(
    'permission_denied',
    'tenant_id: this key is of one tenant and cannot name another',
  );
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
const EMPTY: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: nothing };

/** The error with its issues in the names that the caller used: `topK` is `top_k`. Below the first name all is data. */
function inWireNames(error: unknown): unknown {
  if (!isConnectorError(error) || !error.issues.some(({ path }) => wirePath(path) !== path)) return error;
  const { code, connectorId, connectorType, details, retryAfterMs, cause } = error;
  return new ConnectorError(
    code,
    error.issues.reduce((text, { path }) => text.replace(path, () => wirePath(path)), error.message),
    {
      issues: error.issues.map(({ path, message }) => ({ path: wirePath(path), message })),
      details,
      cause: cause ?? error,
      ...(connectorId !== undefined && { connectorId }),
      ...(connectorType !== undefined && { connectorType }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    },
  );
}

function wirePath(path: string): string {
  return path.replace(/^[A-Za-z]+/, wireName);
}

/** A name of the TypeScript API as the wire has it: `rawScore` is `raw_score`. */
export function wireName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
