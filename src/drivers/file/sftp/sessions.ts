import { networkFailure } from '../../../driver.ts';
import { connectionLost } from './errors.ts';
import { during, type Exchange } from './exchange.ts';
import type { Session } from './session.ts';

type Opening = { readonly session: Promise<Session>; readonly ending: AbortController; waiting: number };

/**
 * The one session of a client. After its connection is lost the next call opens another, once however many calls wait
 * for it, and nobody goes on connecting when all of them have gone.
 */
export class Sessions {
  readonly #open: (signal: AbortSignal) => Promise<Session>;
  readonly #onOpen: (session: Session) => void;
  #session: Session;
  #opening: Opening | undefined;
  #isClosed = false;

  constructor(
    first: Session,
    open: (signal: AbortSignal) => Promise<Session>,
    onOpen: (session: Session) => void,
  ) {
    this.#session = first;
    this.#open = open;
    this.#onOpen = onOpen;
    onOpen(first);
  }

  async use<T>(signal: AbortSignal, task: (exchange: Exchange, session: Session) => Promise<T>): Promise<T> {
    const session = await this.get(signal);
    return during(session.connection, session.clock, signal, (exchange) => task(exchange, session));
  }

  /** A session whose connection is not known to be lost. */
  async get(signal: AbortSignal): Promise<Session> {
    if (signal.aborted) throw networkFailure(signal.reason, signal);
    if (this.#isClosed) throw connectionLost();
    if (this.#session.connection.failure === undefined) return this.#session;
    return this.#wait((this.#opening ??= this.#start()), signal);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#opening?.ending.abort(connectionLost());
    const late = await this.#opening?.session.catch(() => undefined);
    await late?.connection.close();
    await this.#session.connection.close();
  }

  #start(): Opening {
    const ending = new AbortController();
    const session = this.#open(ending.signal);
    const opening: Opening = { session, ending, waiting: 0 };
    session.then(
      (opened) => {
        // Everybody had gone, or the client was closed, in the moment in which it came about.
        if (this.#opening !== opening || this.#isClosed) return void opened.connection.close();
        this.#session = opened;
        this.#opening = undefined;
        this.#onOpen(opened);
      },
      () => {
        if (this.#opening === opening) this.#opening = undefined;
      },
    );
    return opening;
  }

  async #wait(opening: Opening, signal: AbortSignal): Promise<Session> {
    opening.waiting += 1;
    const { promise, reject } = Promise.withResolvers<never>();
    const onAbort = () => reject(networkFailure(signal.reason, signal));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await Promise.race([opening.session, promise]);
    } finally {
      signal.removeEventListener('abort', onAbort);
      opening.waiting -= 1;
      if (opening.waiting === 0 && this.#opening === opening) {
        // Not to be joined by the next caller, whose attempt would end with this one.
        this.#opening = undefined;
        opening.ending.abort();
      }
    }
  }
}
