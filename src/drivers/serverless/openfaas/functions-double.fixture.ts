import type { IncomingHttpHeaders } from 'node:http';

/** What a function gets: the request as the gateway passed it on. */
export type FunctionRequest = { readonly headers: IncomingHttpHeaders; readonly body: string };

/** What a function's container answers. */
export type FunctionAnswer = {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
};

/** A function of the double, written for this process; `undefined` is one that never answers. */
export type FunctionDouble = (
  request: FunctionRequest,
) => FunctionAnswer | undefined | Promise<FunctionAnswer | undefined>;

const json = (value: unknown, status = 200): FunctionAnswer => ({
  status,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(value),
});

/**
 * What the watchdog adds to the answer of its function: the time that it took, unless it says `x-openfaas-internal` itself.
 *
 * https://github.com/openfaas/of-watchdog/blob/master/executor/http_runner.go (read 2026-11-28)
 */
export function watched(run: FunctionDouble): FunctionDouble {
  return async (request) => {
    const answer = await run(request);
    return answer && { ...answer, headers: { ...answer.headers, 'x-duration-seconds': '0.012500' } };
  };
}

/** A function of the node templates: a handler of the event, whose throw is a 500. */
export function handler(run: (event: unknown) => unknown): FunctionDouble {
  return watched(({ body }) => {
    try {
      return json(run(JSON.parse(body)));
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const { name, message, stack } = error;
      return json({ name, message, stack }, 500);
    }
  });
}

/** The functions of the conformance suite. */
export function conformanceFunctions(): Record<string, FunctionDouble> {
  return {
    echo: handler((event) => event),
    fails: handler(() => {
      throw new TypeError('on purpose');
    }),
    endless: () => undefined,
    large: handler((length) => 'x'.repeat(Number(length))),
    random: handler(() => `${Math.random()}`),
  };
}
