import type { z } from 'zod';
import {
  ConnectorError,
  httpFailure,
  networkFailure,
  parseRetryAfter,
  type Clock,
  type Fetcher,
} from '../../../driver.ts';

/** Weaviate's REST API: what it knows of itself and of its collections. */
export type Rest = {
  /**
   * The answer to one request, as the schema reads it.
   *
   * @param path below `/v1`, its parts encoded.
   * @throws ConnectorError what the status, the connection or the signal says; `backend_error` for another shape.
   */
  json<S extends z.ZodType>(
    method: 'GET' | 'POST',
    path: string,
    schema: S,
    call: { readonly signal: AbortSignal; readonly body?: unknown },
  ): Promise<z.output<S>>;
};

export function rest(
  { fetcher, clock }: { readonly fetcher: Fetcher; readonly clock: Clock },
  endpoint: string,
  headers: Readonly<Record<string, string>>,
): Rest {
  const base = `${endpoint.replace(/\/+$/, '')}/v1`;
  return {
    async json(method, path, schema, { signal, body }) {
      const response = await answered(
        fetcher.fetch(base + path, {
          method,
          signal,
          headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
          ...(body !== undefined && { body: JSON.stringify(body) }),
        }),
        signal,
      );
      const text = await answered(response.text(), signal);
      if (!response.ok) {
        throw httpFailure({
          status: response.status,
          message: words(text),
          retryAfterMs: parseRetryAfter(response.headers.get('retry-after'), clock.now()),
        });
      }
      const parsed = schema.safeParse(parsedJson(text));
      if (parsed.success) return parsed.data;
      throw new ConnectorError(
        'backend_error',
        `the backend answered ${path} with another shape than Weaviate's`,
        {
          cause: parsed.error,
        },
      );
    },
  };
}

async function answered<T>(task: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await task;
  } catch (error) {
    throw networkFailure(error, signal);
  }
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** The message of `{ error: [{ message }] }`, or nothing: other bodies are not Weaviate's. */
function words(text: string): string | undefined {
  const { error } = (parsedJson(text) ?? {}) as { readonly error?: unknown };
  const [first] = Array.isArray(error) ? (error as readonly unknown[]) : [];
  const { message } = (first ?? {}) as { readonly message?: unknown };
  return typeof message === 'string' ? message : undefined;
}
