import { untilAborted } from '../../../clouds/gcp/tokens.ts';
import { cancelled, type Clock, ConnectorError, type FunctionInfo, invalidField } from '../../../driver.ts';
import type { GcpFunctionsOptions } from './options.ts';

/** Where and how one function is called. */
export type Place = {
  readonly url: string;
  readonly audience: string;
  readonly signature: 'http' | 'cloudevent';
  readonly eventType: string;
};

/** The functions that a connector has, by name. */
export interface Places {
  /**
   * @throws ConnectorError `invalid_argument` for a name that no service can have, `not_found`, and whatever the Cloud Run
   *   Admin API fails with.
   */
  of(name: string, signal: AbortSignal): Promise<Place>;
  /** Says that nobody answers there, so that the next call asks again. */
  forget(name: string): void;
  /** The names that the options give. */
  readonly named: readonly FunctionInfo[];
  close(): void;
}

/** How the URL of a service is found; absent without a project. */
export type UriOf = (name: string, signal: AbortSignal) => Promise<string>;

/** A URL outlives the revisions of its service, so that it may be known for a while. */
const KNOWN_FOR_MS = 300_000;
const MAX_KNOWN = 1000;
const ASK_LIMIT_MS = 30_000;
/** "It must begin with letter, and cannot end with hyphen; must contain fewer than 50 characters": `CreateServiceRequest` in the proto of @google-cloud/run 4.2.0. */
const SERVICE = /^[a-z](?:[a-z0-9-]{0,47}[a-z0-9])?$/;

/** What the options say of functions; what they leave out is asked of `uriOf`, once for all who wait, and kept five minutes. */
export function places(
  { functions, endpoint }: Pick<GcpFunctionsOptions, 'functions' | 'endpoint'>,
  uriOf: UriOf | undefined,
  clock: Clock,
): Places {
  const given = new Map(
    Object.entries(functions).map(([name, value]) => [
      name,
      typeof value === 'string' ? { url: value } : value,
    ]),
  );
  const known = new Map<string, { readonly uri: Promise<string>; readonly untilMs: number }>();
  const closing = new AbortController();

  const ask = (name: string, of: UriOf): Promise<string> => {
    const limit = new AbortController();
    const stop = clock.inBackground(ASK_LIMIT_MS, () =>
      limit.abort(new ConnectorError('timeout', 'the Cloud Run Admin API did not answer in time')),
    );
    // It belongs to no caller: whoever gives up leaves it to the others.
    return of(name, AbortSignal.any([limit.signal, closing.signal])).finally(stop);
  };

  const uri = async (name: string, signal: AbortSignal): Promise<string> => {
    if (uriOf === undefined) throw noFunction(name);
    if (!SERVICE.test(name))
      throw invalidField(
        'name',
        'is that of a Cloud Run service: at most 49 lower-case letters, digits and dashes, from a letter on',
      );
    const nowMs = clock.monotonicMs();
    let entry = known.get(name);
    if (entry === undefined || entry.untilMs <= nowMs) {
      const fresh = { uri: ask(name, uriOf), untilMs: nowMs + KNOWN_FOR_MS };
      known.set(name, fresh);
      fresh.uri.catch(() => {
        if (known.get(name) === fresh) known.delete(name);
      });
      for (const oldest of known.keys()) if (known.size > MAX_KNOWN) known.delete(oldest);
      entry = fresh;
    }
    return untilAborted(entry.uri, signal);
  };

  return {
    async of(name, signal) {
      const { url, audience, signature = 'http', event_type: eventType = '' } = optionsOf(given.get(name));
      const how = { signature, eventType };
      if (url !== undefined) return { ...how, url, audience: audience ?? audienceOf(url) };
      if (endpoint !== undefined) {
        const below = `${endpoint.replace(/\/+$/, '')}/${encodeURIComponent(name)}`;
        // One service, which has the functions below it: the token is for all of it.
        return { ...how, url: below, audience: audience ?? audienceOf(endpoint) };
      }
      const found = await uri(name, signal);
      return { ...how, url: found, audience: audience ?? audienceOf(found) };
    },
    forget: (name) => void known.delete(name),
    named: [...given.keys()].map((name) => ({ name })),
    close: () => closing.abort(cancelled()),
  };
}

type Given = Exclude<GcpFunctionsOptions['functions'][string], string>;

function optionsOf(given: Partial<Given> | undefined): Partial<Given> {
  return given ?? {};
}

/**
 * What an ID token for a function names: the URL of the service, which for `run.app` has no path, and for all others, such
 * as those of `cloudfunctions.net`, all of it.
 *
 * https://docs.cloud.google.com/run/docs/configuring/custom-audiences (read 2026-11-28)
 */
export function audienceOf(url: string): string {
  const { origin, hostname, pathname } = new URL(url);
  return hostname.endsWith('.run.app') || pathname === '/' ? origin : `${origin}${pathname}`;
}

export function noFunction(name: string): ConnectorError {
  return new ConnectorError('not_found', `there is no function ${name}`, { details: { function: name } });
}
