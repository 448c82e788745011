import { targetOf, type Target } from '../../../driver.ts';
import { ONLY_FUNCTION, type HttpOptions } from './options.ts';

/** Where a request goes, taken apart once. */
export type Address = {
  readonly isSecure: boolean;
  readonly hostname: string;
  readonly port: number;
  /** Path and query, as they are sent. */
  readonly path: string;
  /** The `Host` where it is another than the address's own. */
  readonly host?: string;
};

/** The functions by name. */
export function addressesOf(options: HttpOptions): ReadonlyMap<string, Address> {
  const { endpoint = '', functions, host_template: template } = options;
  if (functions === undefined) return new Map([[ONLY_FUNCTION, addressOf(endpoint)]]);
  const base = endpoint.replace(/\/+$/, '');
  return new Map(
    Object.entries(functions).map(([name, at]) => {
      const address = addressOf(at.startsWith('/') ? `${base}${at}` : at);
      return [
        name,
        template === undefined ? address : { ...address, host: template.replace('{name}', name) },
      ];
    }),
  );
}

/** Where it is asked whether all is well. */
export function healthOf({ endpoint, health_path: path }: HttpOptions): Address | undefined {
  return path === undefined || endpoint === undefined ? undefined : addressOf(new URL(path, endpoint).href);
}

/** One for each host and port. An ingress has a certificate for the functions' names, and maybe none for its own. */
export function targetsOf(addresses: Iterable<Address>, ca: string | undefined): readonly Target[] {
  const targets = new Map<string, Target>();
  for (const { isSecure, hostname, port, host } of addresses) {
    const tls = isSecure && host === undefined ? { ca } : undefined;
    targets.set(`${port} ${hostname}`, { host: hostname, port, tls });
  }
  return [...targets.values()];
}

/** Whether what is sent there can be read on the way. */
export function isClear({ isSecure, hostname }: Address): boolean {
  return !isSecure && !/^(?:localhost|127(?:\.\d+){3}|::1)$/.test(hostname);
}

function addressOf(text: string): Address {
  const { pathname, search } = new URL(text);
  const { host: hostname, port, tls } = targetOf(text);
  return { isSecure: tls !== undefined, hostname, port, path: `${pathname}${search}` };
}
