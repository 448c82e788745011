import type { Answer } from './calls.ts';

/** What a connector is, as far as its only writer cares; null where there is none. */
export type State = Known | null;

export type Known = { readonly id: string; readonly version: number; readonly n: number };

/**
 * What the only writer of a name knows of it.
 *
 * A write whose answer was lost, or that was refused because the database was away, may have been made or not: until a
 * read shows which, both are possible.
 */
export class OwnedConnector {
  readonly name: string;
  /** The last that was acknowledged or read. */
  state: State = null;
  /** What may have taken its place without being heard of; a created one has an id that nobody knows. */
  maybe: { readonly to: { readonly n: number; readonly version: number } | null } | undefined;
  /** What it was before, and until when; by `performance.now()`. */
  readonly past: { readonly state: State; readonly untilMs: number }[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** A write was acknowledged. */
  becomes(state: State): void {
    if (this.state !== null || state !== null)
      this.past.push({ state: this.state, untilMs: performance.now() });
    if (this.past.length > 500) this.past.shift();
    this.state = state;
    this.maybe = undefined;
  }

  /** Takes what was read from the store itself; why that is wrong, or undefined. */
  resolve(read: State): string | undefined {
    const { state, maybe } = this;
    if (isSame(read, state)) {
      this.maybe = undefined;
      return undefined;
    }
    const isMaybe =
      maybe !== undefined &&
      (read === null
        ? maybe.to === null
        : maybe.to !== null &&
          read.n === maybe.to.n &&
          read.version === maybe.to.version &&
          (state === null || state.id === read.id));
    if (isMaybe) {
      this.becomes(read);
      return undefined;
    }
    return `${this.name} is ${JSON.stringify(read)}, and was acknowledged as ${JSON.stringify(state)}${
      maybe ? `, or perhaps ${JSON.stringify(maybe.to)}` : ''
    }`;
  }

  /** Whether this is what it was at some time in the milliseconds before. */
  wasLately(read: State, startMs: number, withinMs: number): boolean {
    return (
      isSame(read, this.state) ||
      this.past.some(({ state, untilMs }) => untilMs >= startMs - withinMs && isSame(state, read))
    );
  }
}

export function stateOf(found: unknown): Known {
  // What the API's own tests hold it to.
  const {
    connector_id: id,
    version,
    metadata,
  } = found as {
    readonly connector_id: string;
    readonly version: number;
    readonly metadata: { readonly n: number };
  };
  return { id, version, n: metadata.n };
}

/** The one connector of a list by name, which is read from the store each time. */
export function listedState({ body }: Answer): State {
  const [found] = body['connectors'] as readonly unknown[];
  return found === undefined ? null : stateOf(found);
}

export function isSame(one: State, other: State): boolean {
  if (one === null || other === null) return one === other;
  return one.id === other.id && one.version === other.version && one.n === other.n;
}
