import type { Socket } from 'node:net';
import type SftpClient from 'ssh2-sftp-client';
import { ConnectorError, loadPeer, type Network, networkFailure } from '../../../driver.ts';
import { connectionLost, dialFailure, lossOf } from './errors.ts';
import { fingerprint, hostKeys } from './host-key.ts';
import { serverOf, type SftpOptions } from './options.ts';

export const PEER_RANGE = '^12.1.0';
/** Requests to the server, as ssh2 sends them. */
export type Sftp = Awaited<ReturnType<SftpClient['connect']>>;
/** Who waits for an answer of the server. */
export type Waiting = { lost(failure: ConnectorError): void };

type Prompt = { readonly echo?: boolean };
/** What is used of ssh2's client, which the peer keeps in a field of its own. */
type SshClient = {
  connect(config: object): unknown;
  end(): unknown;
  sftp(done: (error: Error | undefined, sftp: Sftp) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'ready' | 'close' | 'end' | 'handshake' | 'change password', listener: () => void): unknown;
  on(
    event: 'keyboard-interactive',
    listener: (
      name: string,
      instructions: string,
      language: string,
      prompts: readonly Prompt[],
      finish: (answers: readonly string[]) => void,
    ) => void,
  ): unknown;
};

/** A silence this long while an answer is due, and the caller gone: the server is taken for dead. */
const SILENCE_MS = 5_000;

/** One SSH connection with one SFTP channel, which any number of calls use at once. */
export class Connection {
  readonly sftp: Sftp;
  readonly mask: (text: string) => string;
  readonly #client: SshClient;
  readonly #socket: Socket;
  readonly #waiting = new Set<Waiting>();
  #failure: ConnectorError | undefined;

  constructor(parts: {
    readonly sftp: Sftp;
    readonly client: SshClient;
    readonly socket: Socket;
    readonly mask: (text: string) => string;
  }) {
    this.sftp = parts.sftp;
    this.mask = parts.mask;
    this.#client = parts.client;
    this.#socket = parts.socket;
    const lose = (error?: Error) => this.lose(lossOf(error));
    this.sftp.on('error', lose);
    for (const event of ['end', 'close'] as const) {
      this.sftp.on(event, () => lose());
      this.#client.on(event, () => lose());
    }
    this.#client.on('error', lose);
    if (this.#socket.destroyed) lose();
  }

  /** Why it can be used no more; undefined while it can. */
  get failure(): ConnectorError | undefined {
    return this.#failure;
  }

  get bytesRead(): number {
    return this.#socket.bytesRead;
  }

  /** Tells `waiting` when the connection is lost, until the answer is called. */
  watch(waiting: Waiting): () => void {
    this.#waiting.add(waiting);
    return () => void this.#waiting.delete(waiting);
  }

  /** Gives the connection up where its server has said nothing since the request that nobody waits for any more. */
  doubt(sinceMs: number, bytesReadThen: number): void {
    if (sinceMs >= SILENCE_MS && this.bytesRead === bytesReadThen)
      this.lose(
        new ConnectorError('unavailable', `the server has been silent for ${Math.round(sinceMs)} ms`),
      );
  }

  lose(failure: ConnectorError): void {
    if (this.#failure !== undefined) return;
    this.#failure = failure;
    this.#socket.destroy();
    for (const waiting of [...this.#waiting]) waiting.lost(failure);
  }

  async close(): Promise<void> {
    const socket = this.#socket;
    const closed = new Promise<void>((resolve) => {
      if (socket.closed) resolve();
      else socket.once('close', () => resolve());
    });
    this.#client.end();
    this.lose(connectionLost());
    await closed;
  }
}

/** Connects, checks the server's key, logs in and opens the SFTP channel; the signal ends all of it at once. */
export async function dial(options: SftpOptions, network: Network, signal: AbortSignal): Promise<Connection> {
  const { default: Peer } = await loadPeer('ssh2-sftp-client', PEER_RANGE, () => import('ssh2-sftp-client'));
  if (signal.aborted) throw networkFailure(signal.reason, signal);
  // The peer's own methods send one request at a time, lose what kind of error there was, and print to the console.
  const { client } = new Peer('', {}) as unknown as { readonly client?: SshClient };
  if (client === undefined)
    throw new ConnectorError('internal', 'ssh2-sftp-client has no ssh2 client inside');
  const { host, port } = serverOf(options);
  const socket = network.connect({ host, port }).setNoDelay(true);
  let refusedKey: string | undefined;
  let isHandshaken = false;
  const { promise, resolve, reject } = Promise.withResolvers<Sftp>();
  const failure = (error: Error) =>
    dialFailure(
      error,
      { refusedKey, isHandshaken, isClosed: socket.readableEnded || socket.destroyed },
      signal,
    );
  const fail = (error: Error) => reject(failure(error));
  const onAbort = () => reject(networkFailure(signal.reason, signal));
  signal.addEventListener('abort', onAbort, { once: true });
  client.on('error', fail);
  client.on('close', () => reject(new ConnectorError('unavailable', 'the server closed the connection')));
  client.on('handshake', () => (isHandshaken = true));
  client.on('change password', () =>
    reject(new ConnectorError('auth_failed', 'the password has expired, and the server wants another')),
  );
  client.on('keyboard-interactive', (_name, _instructions, _language, prompts, finish) =>
    finish(prompts.map(({ echo }) => (echo === true ? '' : (options.password ?? '')))),
  );
  client.on('ready', () =>
    client.sftp((error, sftp) => {
      if (error) reject(socket.destroyed ? failure(error) : withoutSftp());
      else resolve(sftp);
    }),
  );
  try {
    start(client, socket, options, (key) => (refusedKey = key));
    return new Connection({ sftp: await promise, client, socket, mask: masking(options) });
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** @throws ConnectorError `invalid_argument` for a private key that cannot be read, which ssh2 says before it connects. */
function start(
  client: SshClient,
  socket: Socket,
  options: SftpOptions,
  onRefusedKey: (fingerprint: string) => void,
): void {
  const { password, private_key: privateKey, passphrase, keepalive_seconds } = options;
  const required = options.host_key === undefined ? undefined : hostKeys(options.host_key);
  try {
    client.connect({
      sock: socket,
      username: serverOf(options).user,
      // Named one by one: the host's agent and keys are never asked.
      authHandler: [
        ...(privateKey === undefined ? [] : ['publickey']),
        ...(password === undefined ? [] : ['password', 'keyboard-interactive']),
      ],
      ...(privateKey !== undefined && { privateKey }),
      ...(passphrase !== undefined && { passphrase }),
      ...(password !== undefined && { password, tryKeyboard: true }),
      ...(required?.algorithms && { algorithms: { serverHostKey: required.algorithms } }),
      hostVerifier: (key: Uint8Array): boolean => {
        if (options.insecure_any_host_key || required?.accepts(key) === true) return true;
        onRefusedKey(fingerprint(key));
        return false;
      },
      keepaliveInterval: keepalive_seconds * 1000,
      keepaliveCountMax: 3,
      // The time of an attempt is its caller's own.
      readyTimeout: 0,
    });
  } catch (cause) {
    const message =
      passphrase === undefined
        ? 'is no private key in PEM or the format of OpenSSH, or needs its passphrase'
        : 'is no private key in PEM or the format of OpenSSH, or the passphrase is another';
    throw new ConnectorError('invalid_argument', `private_key ${message}`, {
      cause,
      issues: [{ path: 'private_key', message }],
    });
  }
}

function withoutSftp(): ConnectorError {
  return new ConnectorError('permission_denied', 'the server lets the user in, but gives no SFTP');
}

/** Takes the secrets out of what a server says, which may repeat what it was sent. */
function masking({ password, private_key, passphrase }: SftpOptions): (text: string) => string {
  const secrets = [password, private_key, passphrase].filter((each) => each !== undefined);
  return (text) => secrets.reduce((masked, each) => masked.replaceAll(each, '…'), text);
}
