import { generateKeyPairSync } from 'node:crypto';
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';

/** A way to log in that a client tries. */
export type Login = {
  readonly method: string;
  readonly password?: string;
  accept(): void;
  reject(others: readonly string[]): void;
  prompt(
    prompts: readonly { readonly prompt: string; readonly echo: boolean }[],
    done: (answers: readonly string[]) => void,
  ): void;
};
/** A connection as ssh2's server sees it. */
export type ServedConnection = {
  on(event: 'error', listener: (error: Error) => void): void;
  on(event: 'authentication', listener: (login: Login) => void): void;
  on(event: 'session', listener: (accept: () => ServedSession) => void): void;
};
type ServedSession = { on(event: 'sftp', listener: (accept: () => ServedSftp) => void): void };
/** Names with their attributes, as a folder's listing carries them. */
export type Names = readonly {
  readonly filename: string;
  readonly longname: string;
  readonly attrs: object;
}[];
/** The requests of a client, and the ways to answer them. */
export type ServedSftp = {
  on(event: string, listener: (id: number, ...rest: unknown[]) => void): void;
  handle(id: number, handle: Buffer): void;
  status(id: number, code: number, words?: string): void;
  name(id: number, names: Names): void;
  attrs(id: number, attributes: object): void;
  data(id: number, bytes: Buffer): void;
};
type Ssh2 = {
  readonly Server: new (
    options: { readonly hostKeys: readonly string[]; readonly ident: string },
    onConnection: (connection: ServedConnection, info: { readonly port: number }) => void,
  ) => { injectSocket(socket: Socket): void };
  readonly utils: {
    parseKey(key: string): { readonly type: string; getPublicSSH(): Buffer };
    readonly sftp: {
      readonly STATUS_CODE: Readonly<
        Record<'OK' | 'EOF' | 'NO_SUCH_FILE' | 'PERMISSION_DENIED' | 'FAILURE', number>
      >;
      readonly OPEN_MODE: { readonly EXCL: number };
    };
  };
};

// The one that the driver uses, which is a package of the peer's and not of ours; as much of it as is used here.
const here = createRequire(import.meta.url);
export const { Server, utils } = createRequire(here.resolve('ssh2-sftp-client'))('ssh2') as Ssh2;

/** By Node, because one in some hundreds of the keys that ssh2 makes is one that it cannot read. */
export function hostKey(): { readonly private: string; readonly public: string } {
  const { privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'prime256v1',
    privateKeyEncoding: { type: 'sec1', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const parsed = utils.parseKey(privateKey);
  return { private: privateKey, public: `${parsed.type} ${parsed.getPublicSSH().toString('base64')}` };
}

/** Ends a connection with a reason of the SSH protocol, for which ssh2's server has no method. */
export function disconnect(connection: ServedConnection, reason: number): void {
  (Reflect.get(connection, '_protocol') as { disconnect(reason: number): void }).disconnect(reason);
}
